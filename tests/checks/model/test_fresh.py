"""What another process loads from the file is the model, and fast and small enough."""

from dataclasses import replace

import numpy as np
import pytest

from checks.model.answers import Answers
from checks.model.evidence import FreshCopy
from checks.model.fresh import check_latency, check_loadable, check_size
from checks.result import Status

TRUTH = np.array([0, 1] * 50)
PROBABILITIES = np.column_stack([1 - 0.8 * TRUTH - 0.1, 0.8 * TRUTH + 0.1])
ANSWERS = Answers((0, 1), TRUTH, TRUTH, PROBABILITIES)
COPY = FreshCopy(TRUTH, PROBABILITIES, row_ms=4.0, batch_ms=20.0, size=1_500_000)


def test_a_copy_that_answers_alike_passes() -> None:
    """The last digits of a probability may differ from machine to machine."""
    near = replace(COPY, probabilities=PROBABILITIES + np.array([1e-7, -1e-7]))
    assert check_loadable(ANSWERS, COPY).status is Status.PASSED
    assert check_loadable(ANSWERS, near).status is Status.PASSED


@pytest.mark.parametrize(
    "copy",
    [
        replace(COPY, predictions=np.where(np.arange(100) == 7, 1 - TRUTH, TRUTH)),
        replace(COPY, probabilities=np.where(np.arange(100)[:, None] == 7, 0.5, PROBABILITIES)),
        replace(COPY, probabilities=np.where(np.arange(100)[:, None] == 7, np.nan, PROBABILITIES)),
    ],
)
def test_a_copy_that_answers_otherwise_fails(copy: FreshCopy) -> None:
    """One row whose label or probability differs is another model."""
    found = check_loadable(ANSWERS, copy)
    assert (found.status, found.observed) == (Status.FAILED, 1)
    assert found.details["examples"] == [7]


@pytest.mark.parametrize(
    "copy",
    [
        "ModuleNotFoundError: no module named 'mine'",
        replace(COPY, probabilities=PROBABILITIES[:, :1]),
        replace(COPY, predictions=TRUTH[:3]),
        replace(COPY, predictions=TRUTH.astype(str)),
    ],
)
def test_a_copy_that_cannot_be_compared_is_an_error(copy: FreshCopy | str) -> None:
    """A file that does not load is no model."""
    assert check_loadable(ANSWERS, copy).status is Status.ERROR


def test_time_and_size_are_held_against_their_limits() -> None:
    """Milliseconds for a row and for a thousand, megabytes of the file."""
    assert check_latency(COPY, "row", 5.0).status is Status.PASSED
    assert check_latency(COPY, "row", 3.0).status is Status.FAILED
    assert check_latency(COPY, "batch", 25.0).status is Status.PASSED
    assert check_latency(COPY, "batch", 15.0).status is Status.FAILED
    assert check_size(COPY, 2.0).status is Status.PASSED
    found = check_size(COPY, 1.0)
    assert (found.status, found.observed) == (Status.FAILED, 1.5)


def test_without_limits_they_do_not_apply_and_without_a_copy_they_are_errors() -> None:
    """No limit is said; no copy refuses where there is one."""
    for limit, copy, status in [
        (None, COPY, Status.NOT_APPLICABLE),
        (5.0, "the process hung", Status.ERROR),
        (5.0, replace(COPY, row_ms=float("nan"), batch_ms=float("nan")), Status.ERROR),
    ]:
        assert check_latency(copy, "row", limit).status is status
        assert check_latency(copy, "batch", limit).status is status
    assert check_size(COPY, None).status is Status.NOT_APPLICABLE
    assert check_size("the process hung", 5.0).status is Status.ERROR
