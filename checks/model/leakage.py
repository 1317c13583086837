"""Does the model know what it cannot know when it serves?"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import NotJudgedError
from checks.model.rule import Finding, Rule, at_most
from checks.model.wording import counted, quoted
from checks.result import MAXIMUM_EXAMPLES, CheckResult, Status


def check_sealed(learned: NDArray[np.bool_] | str) -> CheckResult:
    """Judge whether the candidate was trained or chosen on a sealed row."""

    def find() -> Finding:
        if isinstance(learned, str):
            raise NotJudgedError(f"which rows the candidate has learned is unknown ({learned})")
        count = int(learned.sum())
        if not count:
            return Finding(Status.PASSED, 0, f"None of {len(learned):,} sealed rows was learned.")
        said = f"{count:,} of {len(learned):,} sealed rows are among those that it learned from."
        details = {"examples": np.flatnonzero(learned)[:MAXIMUM_EXAMPLES]}
        return Finding(Status.FAILED, count, said, details=details)

    claim = "No sealed row was learned from"
    return Rule("sealed", claim, "at most", 0).judge(find)


def check_columns_alone(
    alone: Mapping[str, float] | str, maximum: float, known: Collection[str] = ()
) -> CheckResult:
    """Judge whether a column predicts the label alone.

    Parameters
    ----------
    alone : mapping of str to float, or str
        Area under the ROC curve of each column alone; why it is unknown.
    maximum : float
        From this on a column is taken for a leak.
    known : collection of str
        Columns that are known when a prediction is made, whatever they say.
    """

    def find() -> Finding:
        if isinstance(alone, str):
            raise NotJudgedError(f"the columns were not screened ({alone})")
        asked = {column: area for column, area in alone.items() if column not in known}
        if not asked:
            raise NotJudgedError("no column is left to screen")
        if any(not np.isfinite(area) for area in asked.values()):
            raise NotJudgedError("the power of a column is no finite number")
        worst = max(asked, key=lambda column: asked[column])
        leaks = [column for column, area in asked.items() if area >= maximum]
        if not leaks:
            said = f"The strongest column alone, {quoted([worst])}, ranks the label with "
            said += f"{asked[worst]:.4f}."
            return Finding(Status.PASSED, asked[worst], said)
        said = (
            f"{quoted(leaks)} alone ranks the label with area under the ROC curve "
            f"{asked[worst]:.4f}; is it known when a prediction is made? If so, name it in "
            "gate.leakage.known, if not, in data.drop."
        )
        return Finding(Status.FAILED, asked[worst], said, details={"columns": leaks})

    claim = "No column predicts the label alone"
    return Rule("leakage[alone]", claim, "at most", maximum).judge(find)


def check_duplicates(copied: NDArray[np.bool_] | str, maximum: float) -> CheckResult:
    """Judge the share of sealed rows that stand among the learned ones, id and time aside.

    Notes
    -----
    The sealed rows are all counted, so the share has no interval: with one, a table of a few
    hundred sealed rows and not one copy would be refused.
    """

    def find() -> Finding:
        if isinstance(copied, str):
            raise NotJudgedError(f"copies were not looked for ({copied})")
        count, of = int(copied.sum()), len(copied)
        if not of:
            raise NotJudgedError("there is no sealed row")
        said = f"Of {counted(of, 'sealed row')}, {count:,} the same as a learned one"
        return at_most(count / of, maximum, said, details={"count": count, "of": of})

    claim = "Few sealed rows are copies of learned ones"
    return Rule("leakage[duplicates]", claim, "at most", maximum).judge(find)


def check_telling_columns(
    telling: Mapping[str, str] | str, known: Collection[str] = ()
) -> CheckResult:
    """Judge whether the model reads a column that names a row or its time.

    Parameters
    ----------
    telling : mapping of str to str, or str
        Such columns, and how it shows; why they were not looked for.
    known : collection of str
        Columns that may be read all the same.
    """

    def find() -> Finding:
        if isinstance(telling, str):
            raise NotJudgedError(f"the columns were not screened ({telling})")
        found = {column: how for column, how in telling.items() if column not in known}
        if not found:
            return Finding(Status.PASSED, 0, "No column that it reads names a row or its time.")
        first = next(iter(found))
        said = f"It reads {quoted(list(found))}: {found[first].rstrip('.')}. Name it in data.drop, "
        said += "or in gate.leakage.known."
        return Finding(Status.FAILED, len(found), said, details={"columns": found})

    claim = "The model reads no id and no clock"
    return Rule("leakage[names]", claim, "at most", 0).judge(find)
