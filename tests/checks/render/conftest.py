"""Reports to render: what the gate finds of simulated models, from a good one to a broken one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import auc, confusion_matrix, precision_recall_curve, roc_curve

from checks.result import CheckResult, Report, Status

CARRIERS = ["UA", "B6", "DL", "AA", "MQ"]


def wilson(count: int, of: int) -> tuple[float, float]:
    """Give the 95% interval of a share."""
    found = binomtest(count, of).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def floor(id_: str, count: int, of: int, limit: float) -> CheckResult:
    """Hold a share against a lowest value."""
    share = count / of
    status = Status.PASSED if share >= limit else Status.FAILED
    said = f"Of {of:,} rows {count:,} right: {share:.4f}"
    said += "." if share >= limit else f", below the {limit:.4f} that is asked for."
    return CheckResult(
        id_,
        f"At least {limit} of the rows are right",
        status,
        share,
        limit,
        said,
        {"relation": "at least", "count": count, "of": of},
        wilson(count, of),
    )


def answers(
    rng: np.random.Generator, truth: NDArray[np.int_], k: int, sharpness: float
) -> NDArray[np.float64]:
    """Draw probabilities that lean towards the truth."""
    scores = rng.normal(size=(len(truth), k)) + sharpness * np.eye(k)[truth]
    odds = np.exp(1.6 * scores)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def facts_of(k: int, names: list[str], rows: int, better: float) -> dict[str, Any]:
    """Simulate a candidate and a champion, and give the facts of a gate's report."""
    rng = np.random.default_rng(k)
    weights = np.array([0.32, 0.68]) if k == 2 else rng.dirichlet(np.full(k, 4.0))
    truth = rng.choice(k, size=rows, p=weights)
    spread = 2.0 + 0.25 * np.log2(k)
    mine = answers(rng, truth, k, spread + better)
    theirs = answers(rng, truth, k, spread)
    said, old = mine.argmax(axis=1), theirs.argmax(axis=1)
    right, was = said == truth, old == truth
    helpful, harmful = int((right & ~was).sum()), int((~right & was).sum())
    p = float(binomtest(helpful, max(helpful + harmful, 1)).pvalue)
    difference = (helpful - harmful) / rows
    error = 1.96 * float(np.sqrt((helpful + harmful) / rows - difference**2) / np.sqrt(rows))
    verdict = "promote" if p < 0.05 and difference > 0 else "keep" if p < 0.05 else "inconclusive"
    curves = {}
    for c in np.argsort(weights)[: 1 if k == 2 else 4]:
        fpr, tpr, _ = roc_curve(truth == c, mine[:, c])
        precision, recall, _ = precision_recall_curve(truth == c, mine[:, c])
        few = np.linspace(0, len(fpr) - 1, 101).astype(int)
        some = np.linspace(0, len(recall) - 1, 101).astype(int)
        curves[names[c]] = {
            "roc": {"fpr": fpr[few], "tpr": tpr[few], "area": auc(fpr, tpr)},
            "precision_recall": {
                "recall": recall[some],
                "precision": precision[some],
                "area": auc(recall, precision),
            },
        }
    sure = mine.max(axis=1)
    bins = []
    for low in np.arange(10) / 10:
        inside = (sure > low) & (sure <= low + 0.1)
        n, hits = int(inside.sum()), int(right[inside].sum())
        bins.append(
            {
                "low": low,
                "high": low + 0.1,
                "rows": n,
                "confidence": float(sure[inside].mean()) if n else None,
                "accuracy": hits / n if n else None,
                "interval": wilson(hits, n) if n else None,
            }
        )
    slices = []
    for place, carrier in enumerate(CARRIERS):
        n = 400 - 60 * place
        hits = int(n * (right.mean() - 0.16 + 0.03 * place))
        name = f"carrier = {carrier}" + (" and origin = EWR" if place % 2 else "")
        interval, share = wilson(hits, n), hits / n
        slices.append(
            {"slice": name, "rows": n, "right": hits, "share": share, "interval": interval}
            | {"p": 10.0 ** (place - 6)}
        )
    return {
        "rows": rows,
        "scoring": "accuracy",
        "on": "bound",
        "confidence": 0.95,
        "look": 3,
        "labels": names,
        "confusion": confusion_matrix(truth, said, labels=range(k)),
        "champion": {
            "verdict": verdict,
            "version": "4",
            "rows": rows,
            "dropped": 12,
            "confusion": confusion_matrix(truth, old, labels=range(k)),
            "helpful": helpful,
            "harmful": harmful,
            "p": p,
            "difference": difference,
            "interval": [difference - error, difference + error],
            "examples": {"helpful": ["UA-1545-0101", "B6-725"], "harmful": ["DL-461-0309"]},
            "segments": [
                {"slice": "carrier = UA", "rows": 412, "candidate": 0.74, "champion": 0.81}
                | {"p": 0.0004},
                {"slice": "origin = EWR and month = 12", "rows": 220, "candidate": 0.7}
                | {"champion": 0.75, "p": 0.03},
            ],
        },
        "metrics": {"accuracy": float(right.mean()), "balanced_accuracy": 0.8468, "roc_auc": 0.93},
        "reliability": {"bins": bins, "ece": 0.0182, "brier": 0.0871},
        "curves": curves,
        "slices": slices,
    }


def example(kind: str = "good", k: int = 2, *, names: list[str] | None = None) -> Report:
    """Give a gate's report: ``good``, ``refused``, ``error`` or ``first``, of ``k`` classes."""
    if names is None:
        names = ["late", "on_time"] if k == 2 else [f"class {n}" for n in range(k)]
    better = {"good": 0.25, "refused": -0.2}.get(kind, 0.0)
    facts = facts_of(k, names, rows=3196 if k < 50 else 40_000, better=better)
    counts = np.asarray(facts["confusion"])
    rows, right = int(counts.sum()), int(np.trace(counts))
    strict = 0.03 if kind == "refused" else -0.04
    checks = [
        CheckResult("limits", "The gate has a limit", Status.PASSED, 5, 1, "5 limits are set."),
        floor("accuracy", right, rows, round(right / rows - 0.02, 2)),
    ]
    for place, name in enumerate(names):
        hits, of = int(counts[place, place]), int(counts[place].sum())
        if of:
            lean = strict if place == 0 else -0.04
            limit = round(min(max(hits / of + lean, 0.05), 0.99), 2)
            checks.append(floor(f"recall[{name}]", hits, of, limit))
    missed, of = int(counts[0, 1]), int(counts[0].sum())
    checks.append(
        CheckResult(
            f"confusion[{names[0]} -> {names[1]}]",
            f"At most 0.33 of the rows truly {names[0]} are predicted {names[1]}",
            Status.PASSED,
            missed / of,
            0.33,
            f"Of {of:,} rows truly {names[0]}, {missed:,} predicted {names[1]}.",
            {"relation": "at most", "count": missed, "of": of},
            wilson(missed, of),
        )
    )
    latency = CheckResult(
        "latency[row]",
        "One row takes at most 20 ms",
        Status.PASSED,
        8.61,
        20,
        "The median of 200 single rows is 8.61 ms.",
        {"relation": "at most"},
    )
    checks.append(latency)
    champion = facts["champion"]
    compared = CheckResult(
        "champion",
        "Better than the champion by more than chance, in accuracy",
        Status.FAILED if champion["verdict"] != "promote" else Status.PASSED,
        champion["difference"],
        0.0,
        f"{champion['verdict']}: {champion['helpful']} flips help, {champion['harmful']} harm.",
        {"relation": "more than"},
        tuple(champion["interval"]),
    )
    if kind == "error":
        error = "version 4: ValueError: X has 11 features, but the model expects 12"
        compared = CheckResult(
            "champion", compared.claim, Status.ERROR, reason=f"Could not be judged: {error}."
        )
        facts["champion"] = {"verdict": "error", "version": "4"}
    if kind == "first":
        compared = CheckResult(
            "champion", compared.claim, Status.FIRST_MODEL, reason="No champion serves yet."
        )
        facts["champion"] = {"verdict": "first model"}
        facts["look"] = 1
    checks.append(compared)
    for unset in ("cost", "noise", "missing", "invariance", "calibration[ece]", "size"):
        reason = f"No limit is set: {unset} of [gate] in tidegate.toml sets one."
        checks.append(CheckResult(unset, "It holds", Status.NOT_APPLICABLE, reason=reason))
    return Report("gate", tuple(checks), facts)


ATTACKS = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "</title></svg><b>x",
    "a|b\nc",
    "`` ` ``",
    "a\\|b\\\\|c",
    "*b* _i_ [x](http://evil.example) ![y](z) $x$ ~s~",
    "@octocat #12 www.evil.example",
    "&amp; &#0; ]]> -->",
    "nul \x00 bell \x07 \ufffe surrogate \ud800",
    "\"quoted\" 'single'",
    "",
]


def _hostile(text: str) -> Report:
    """Put one text wherever a report has text."""
    failed = CheckResult(text, text, Status.FAILED, text, text, text, {"examples": [text]})
    beside = CheckResult(text, text, Status.NOT_APPLICABLE, reason=text)
    slices = [{"slice": text, "rows": 9, "share": 0.5, "candidate": 0.4, "champion": 0.5}]
    facts = {
        "labels": [text, "b"],
        "confusion": [[1, 2], [3, 4]],
        "scoring": text or "x",
        "metrics": {text: 0.5},
        "slices": slices,
        "champion": {
            "verdict": text or "x",
            "version": text,
            "helpful": 1,
            "harmful": 2,
            "difference": 0.1,
            "confusion": [[1, 2], [3, 4]],
            "examples": {"helpful": [text], "harmful": [text]},
            "segments": slices,
        },
        "curves": {text: {"roc": {"fpr": [0, 1], "tpr": [0, 1], "area": 0.5}}},
        "override": {"by": text or "x", "reason": text or "x"},
        "note": text,
        text + "!": 1,
    }
    return Report(text, (failed, beside), facts)


def _worst(status: Status, letter: str, count: int = 100_000) -> Report:
    """Make everything as long and as many as a report may hold, one refusal at the end."""
    k, rows = 100, {"slice": letter * 9999, "rows": 9, "share": 0.5, "candidate": 0.4}
    text = letter * 9999
    same = CheckResult(text, text, status, 0.123456, text, text, interval=(0.1, 0.2))
    refuses = CheckResult("the one", "c", Status.FAILED, reason="it fails")
    counts = np.random.default_rng(0).integers(0, count, (k, k))
    line = [n / 5000 for n in range(5001)]
    curve = {"roc": {"fpr": line, "tpr": line}, "precision_recall": {"recall": line}}
    facts = {
        "labels": [f"{text}{n}" for n in range(k)],
        "confusion": counts,
        "champion": {
            "verdict": text,
            "confusion": np.c_[counts, counts[:, 0]],
            "helpful": 10**9,
            "harmful": 10**9,
            "examples": {"helpful": [text] * 99, "harmful": [text] * 99},
            "segments": [rows | {"champion": 0.5}] * 999,
        },
        "metrics": {f"{n}{text}": 0.5 for n in range(99)},
        "curves": {f"{n}{text}": curve for n in range(k)},
        "slices": [rows] * 999,
        "override": {"by": text, "reason": text},
        "columns": [text] * 99,
    }
    # Among a thousand refusals no one is more worth its place than the first.
    refused = status in (Status.FAILED, Status.ERROR)
    checks = [refuses, *[same] * 1000] if refused else [*[same] * 1000, refuses]
    return Report(text, tuple(checks), facts)


@pytest.fixture(scope="session", name="example")
def _example() -> Callable[..., Report]:
    """Make a gate's report."""
    return example


@pytest.fixture(scope="session")
def hostile() -> Callable[[str], Report]:
    """Make a report that has one text wherever it has text."""
    return _hostile


@pytest.fixture(scope="session")
def worst() -> Callable[[Status, str], Report]:
    """Make a report that is as large as one can be."""
    return _worst


@pytest.fixture(params=ATTACKS, ids=range(len(ATTACKS)))
def attack(request: pytest.FixtureRequest) -> str:
    """Give a text that some face would take for its own markup."""
    return str(request.param)


@pytest.fixture(scope="session")
def mixed() -> Report:
    """Give a small report with a check of each status."""
    return Report(
        "gate",
        (
            CheckResult(
                "accuracy",
                "accuracy is at least 0.87",
                Status.PASSED,
                0.8912,
                0.87,
                "accuracy is 0.8912.",
                {"relation": "at least"},
            ),
            CheckResult(
                "confusion[late -> on_time]",
                "At most 0.3",
                Status.FAILED,
                0.41,
                0.3,
                "Of 987 rows truly late, 405 predicted on_time.",
                {"relation": "at most"},
                (0.38, 0.441),
            ),
            CheckResult("recall[lat]", "At least 0.7", Status.ERROR, None, 0.7, "no class lat"),
            CheckResult("champion", "Better", Status.FIRST_MODEL, reason="There is none yet."),
            CheckResult("cost", "Cheap", Status.NOT_APPLICABLE, reason="No costs are set."),
        ),
        {"rows": 3120, "labels": ["late", "on_time"], "confusion": [[582, 405], [54, 2079]]},
    )
