"""checks.render.monitoring: the page of a model's windows."""

from typing import Any

from checks.render.monitoring import accuracies, monitoring_page, moves


def window(status: str = "passed", effect: float = 0.1) -> dict[str, Any]:
    """Return a window with one column of drift and an accuracy."""
    details = {"effect": effect, "threshold": 0.2, "exceeded": effect > 0.2}
    check = {"id": "<i>delay.values", "status": status, "details": details, "reason": "It moved."}
    return {
        "version": "3",
        "since": "2013-07-01T00:00:00+00:00",
        "until": "2013-08-01T00:00:00+00:00",
        "rows": 300,
        "labelled": 200,
        "reports": {
            "drift": {"verdict": status, "reasons": [], "checks": [check]},
            "performance": {
                "verdict": "passed",
                "checks": [],
                "facts": {"accuracy": 0.9, "interval": [0.87, 0.93]},
            },
        },
        "decision": {"action": "nothing", "reasons": [{"text": "Nothing <b>moved</b>."}]},
        "revisions": [],
    }


def test_the_page_needs_nothing_else() -> None:
    """The page asks no address, runs no script, and shows a name as it is written."""
    page = monitoring_page("<u>flights", [window(), window("failed", 0.4)])
    assert not [each for each in ("<script", "src=", "href=", "://") if each in page]
    assert not [each for each in ("<u>", "<i>", "<b>moved") if each in page]
    assert "&lt;i&gt;delay.values" in page


def test_a_move_is_an_alarm_only_when_it_failed() -> None:
    """What is below its floor is quiet, beyond it counts, and only a failed check is an alarm."""
    history = [window(), window("passed", 0.3), window("failed", 0.4)]
    floor, points = moves(history)["<i>delay.values"]
    assert floor == 0.2
    assert [point.status for point in points] == ["quiet", "beyond", "failed"]


def test_accuracy_has_its_interval() -> None:
    """The accuracy of a window stands with the interval that its report gives."""
    (point,) = accuracies([window()])
    assert (point.low, point.value, point.high) == (0.87, 0.9, 0.93)


def test_a_page_before_the_first_window() -> None:
    """Where nothing was judged yet, the page says so."""
    assert "Nothing was judged yet." in monitoring_page("flights", [])


def test_a_window_that_led_to_something_is_not_green() -> None:
    """What late labels showed of a closed window colours the one that acts on it."""
    quiet, acting = window(), window() | {"decision": {"action": "retrain", "reasons": []}}
    assert '<header class="passed">' in monitoring_page("flights", [acting, quiet])
    assert '<header class="failed">' in monitoring_page("flights", [quiet, acting])
