"""Recall, precision and the cells of the confusion matrix, and what they cost."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks.model.answers import ARROW, Answers, NotJudgedError
from checks.model.interval import (
    RESAMPLES,
    Interval,
    draw_matrices,
    percentiles,
    share_interval,
)
from checks.model.rule import Finding, On, Rule, at_most, judge_ceiling, judge_floor
from checks.model.settings import CostSettings
from checks.model.wording import counted
from checks.result import CheckResult


def check_recall(
    answers: Answers, name: str, minimum: float, *, on: On = "estimate", confidence: float = 0.95
) -> CheckResult:
    """Judge the share of a true class (its `class_name`) that is found."""

    def find() -> Finding:
        code = answers.named(name)
        found, of = int(answers.confusion[code, code]), int(answers.confusion[code].sum())
        if not of:
            raise NotJudgedError(f"no sealed row is truly {name}, so its recall is unknown")
        said = f"Of {counted(of, 'row')} truly {name}, {found:,} found"
        return judge_floor(found, of, minimum, said, on, confidence)

    claim = f"At least {minimum:.4g} of the rows truly {name} are found"
    return Rule(f"recall[{name}]", claim, "at least", minimum).judge(find)


def check_precision(
    answers: Answers, name: str, minimum: float, *, on: On = "estimate", confidence: float = 0.95
) -> CheckResult:
    """Judge the share of a predicted class (its `class_name`) that is right."""

    def find() -> Finding:
        code = answers.named(name)
        right, of = int(answers.confusion[code, code]), int(answers.confusion[:, code].sum())
        if not of:
            raise NotJudgedError(f"the model never answers {name}, so there is nothing to be right")
        said = f"Of {counted(of, 'row')} predicted {name}, {right:,} right"
        return judge_floor(right, of, minimum, said, on, confidence)

    claim = f"At least {minimum:.4g} of the rows predicted {name} are right"
    return Rule(f"precision[{name}]", claim, "at least", minimum).judge(find)


def check_confusion(
    answers: Answers, cell: str, maximum: float, *, on: On = "estimate", confidence: float = 0.95
) -> CheckResult:
    """Judge the share of a true class that is predicted as another.

    ``cell`` is written ``true class -> predicted class``.
    """

    def find() -> Finding:
        true, predicted = answers.cell(cell)
        wrong, of = int(answers.confusion[true, predicted]), int(answers.confusion[true].sum())
        true_name, predicted_name = answers.names[true], answers.names[predicted]
        if not of:
            raise NotJudgedError(f"no sealed row is truly {true_name}, so the share is unknown")
        said = f"Of {counted(of, 'row')} truly {true_name}, {wrong:,} predicted {predicted_name}"
        return judge_ceiling(wrong, of, maximum, said, on, confidence)

    sides = [side.strip() for side in cell.split(ARROW)]
    claim = f"At most {maximum:.4g} of a class in this cell of the confusion matrix"
    if len(sides) == 2:
        claim = f"At most {maximum:.4g} of the rows truly {sides[0]} are predicted {sides[1]}"
    return Rule(f"confusion[{f' {ARROW} '.join(sides)}]", claim, "at most", maximum).judge(find)


def check_cost(
    answers: Answers,
    settings: CostSettings,
    *,
    on: On = "estimate",
    confidence: float = 0.95,
) -> CheckResult:
    """Judge what mistakes cost, on average per row.

    A right answer costs nothing, a wrong one what the matrix says of its cell, otherwise 1
    (Elkan 2001, The foundations of cost-sensitive learning, IJCAI). The interval is that of a
    bootstrap of the rows; where no row cost anything, which no draw of them would either, its
    high end is that of the share of costly rows (Wilson), each at the highest cost.

    Parameters
    ----------
    answers : Answers
    settings : CostSettings
    on : {"estimate", "bound"}
    confidence : float
    """
    maximum = settings.max
    if maximum is None:
        claim = "Mistakes do not cost more than is allowed"
        return Rule("cost", claim, "at most").unasked("gate.cost.max")

    def find() -> Finding:
        costs = 1.0 - np.eye(len(answers.names))
        named: set[tuple[int, int]] = set()
        for key, cost in settings.matrix.items():
            cell = answers.cell(key)
            if cell in named:
                raise NotJudgedError(f"{key!r} names a cell that another key names too")
            named.add(cell)
            costs[cell] = cost
        rows = int(answers.confusion.sum())
        each = answers.confusion * costs
        value = float(each.sum() / rows)
        interval = _cost_interval(answers.confusion, costs, value, confidence)
        true, predicted = np.unravel_index(int(each.argmax()), each.shape)
        cell_name = f"{answers.names[true]} {ARROW} {answers.names[predicted]}"
        said = f"Of {counted(rows, 'row')}, none cost anything"
        details: dict[str, Any] = {"total": float(each.sum()), "of": rows}
        if value:
            said = (
                f"{counted(rows, 'row')} cost {each.sum():.6g}, most of it {cell_name} "
                f"({answers.confusion[true, predicted]:,} at {costs[true, predicted]:g})"
            )
            details |= {"dearest": cell_name, "share": float(each.max() / each.sum())}
        return at_most(value, maximum, said, interval=interval, on=on, details=details)

    return Rule("cost", f"A row costs at most {maximum:g}", "at most", maximum).judge(find)


def _cost_interval(
    confusion: NDArray[np.int64], costs: NDArray[np.float64], value: float, confidence: float
) -> Interval:
    rows = int(confusion.sum())
    if not value:
        return 0.0, share_interval(0, rows, confidence)[1] * float(costs.max())
    drawn = draw_matrices(confusion, RESAMPLES, np.random.default_rng(0))
    means = np.tensordot(drawn, costs, axes=2) / rows
    return percentiles(means, means, value, confidence)
