"""Silence, and clocks that jump."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from checks.liveness import check_liveness
from checks.monitor import MonitorSettings
from checks.result import Report, Status

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
HOURS = timedelta(hours=1)


def judged(settings: dict[str, Any] | None = None, **times: datetime | None) -> Report:
    given: dict[str, Any] = {
        "since": NOW - 900 * HOURS,
        "last_request": NOW - HOURS,
        "last_label": NOW - HOURS,
        "last_monitoring": NOW - HOURS,
        **times,
    }
    return check_liveness(NOW, **given, settings=MonitorSettings(**(settings or {})))


def failed(report: Report) -> list[str]:
    return [check.id for check in report.refusals]


def test_what_still_comes_is_alive() -> None:
    """With a request, a label and a run within two periods there is nothing to tell."""
    report = judged()
    assert report.passed
    assert [check.id for check in report.checks] == ["traffic", "labels", "monitoring", "clock"]


@pytest.mark.parametrize(
    ("what", "time"),
    [("traffic", "last_request"), ("labels", "last_label"), ("monitoring", "last_monitoring")],
)
def test_two_periods_of_silence_are_an_alert(what: str, time: str) -> None:
    """Each of the three alarms alone, once two periods have gone by and not before."""
    assert judged(**{time: NOW - 48 * HOURS}).passed
    report = judged(**{time: NOW - 48.1 * HOURS})
    assert failed(report) == [what]
    assert "48.1 hours ago; 48 are the most." in report.reasons[0]


def test_periods_are_settings() -> None:
    """The silence that alarms is the period times the number of periods."""
    short = {"period_hours": 1.0, "silent_periods": 3}
    assert judged(short, last_request=NOW - 3 * HOURS).passed
    assert failed(judged(short, last_request=NOW - 3.5 * HOURS)) == ["traffic"]


def test_what_never_came_counts_from_the_champion() -> None:
    """A champion that nobody ever asked or watched is silent two periods after it began."""
    never = {"last_request": None, "last_monitoring": None, "last_label": None}
    assert judged(since=NOW - 40 * HOURS, **never).passed
    report = judged(since=NOW - 50 * HOURS, **never)
    assert failed(report) == ["traffic", "monitoring"]
    assert "None has come since the champion began" in report.reasons[0]


def test_labels_are_expected_once_one_has_come() -> None:
    """Labels that never came, or that nobody expects, are no alert; labels that stop are."""
    assert judged(last_label=None).checks[1].status is Status.NOT_APPLICABLE
    quiet = judged({"expect_labels": False}, last_label=NOW - 900 * HOURS)
    assert quiet.checks[1].status is Status.NOT_APPLICABLE
    assert failed(judged(last_label=NOW - 900 * HOURS)) == ["labels"]


def test_a_time_in_the_future_is_no_sign_of_life() -> None:
    """A last request of next year fails the clock and does not count as traffic."""
    report = judged(last_request=NOW + 9_000 * HOURS)
    assert failed(report) == ["clock"]
    assert report.checks[0].status is Status.NOT_APPLICABLE
    assert "traffic last came 2027-" in report.reasons[0]
    assert judged(last_request=NOW + timedelta(minutes=4)).passed
    assert failed(judged(since=NOW + HOURS)) == ["clock"]


def test_zones_are_compared_as_instants() -> None:
    """A time of another zone is the instant that it names."""
    east = timezone(timedelta(hours=9))
    assert judged(last_request=(NOW - 47 * HOURS).astimezone(east)).passed
    assert failed(judged(last_request=(NOW - 49 * HOURS).astimezone(east))) == ["traffic"]


def test_a_time_without_its_zone_is_refused() -> None:
    """A time that could not be compared with the others is a mistake of the caller."""
    with pytest.raises(ValueError, match="time zone"):
        judged(last_label=datetime(2026, 11, 10))  # noqa: DTZ001 - that is the mistake
