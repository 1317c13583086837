"""The way back: one command, the same checks, the same ledger."""

from collections.abc import Callable
from typing import Any

import pytest

Command = Callable[..., Any]

pytestmark = pytest.mark.slow


@pytest.fixture
def served(tidegate: Command, registry: Any) -> Any:
    """A project of which version 1 served, and version 2 serves."""
    for _ in range(2):
        registry.judged()
        assert tidegate("deploy", "--project", registry.folder).code == 0
    return registry


def test_rollback_names_the_version_that_served_before(tidegate: Command, served: Any) -> None:
    """Its bytes are those that served then; what it replaces is the previous one."""
    before = served.tracker.version("flights", "1").tags["tidegate.sha256"]
    ended = tidegate("rollback", "--reason", "complaints", "--project", served.folder, "--json")
    assert ended.code == 0
    assert ended.document["model"] == {"name": "flights", "version": "1", "alias": "champion"}
    assert served.aliases == {"champion": "1", "previous": "2"}
    assert served.tracker.checksum("flights", "1") == before
    newest = served.tracker.ledger("flights").entries()[-1]
    assert (newest.event, newest.version, newest.reason) == ("rolled back", "1", "complaints")
    assert newest.details["from"] == "2"
    assert tidegate("rollback", "--project", served.folder).code == 0
    assert served.aliases == {"champion": "2", "previous": "1"}


def test_rollback_refuses_bytes_that_were_changed(tidegate: Command, served: Any) -> None:
    """The old version's file is not what it was: the champion stays, with 1."""
    client = served.tracker._client
    run_id = client.get_model_version("flights", "1").run_id
    model_id = served.tracker.run(run_id).tags["tidegate.candidate"]
    (file,) = (served.folder / ".tidegate").rglob(f"{model_id}/**/model.skops")
    file.write_bytes(file.read_bytes() + b" ")
    ended = tidegate("rollback", "--to", "1", "--project", served.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"] == [
        "checksum: The model's file is not the one that was judged."
    ]
    assert served.aliases == {"champion": "2", "previous": "1"}


def test_rollback_goes_to_what_has_served(tidegate: Command, served: Any) -> None:
    """Not to a version that is unknown, serves, or that the gate refused: 2 and a message."""
    served.judged("failed")
    for version, said in (
        ("9", "no version '9'"),
        ("9" * 30, "no version '9"),
        ("２", "no version"),
        ("2", "already"),
        ("3", "never did"),
    ):
        ended = tidegate("rollback", "--to", version, "--project", served.folder)
        assert ended.code == 2
        assert said in ended.err
    assert served.aliases == {"champion": "2", "previous": "1"}


def test_rollback_needs_a_champion_and_one_before_it(tidegate: Command, registry: Any) -> None:
    """Both absences end with 2 and the next command."""
    registry.judged()
    none = tidegate("rollback", "--project", registry.folder)
    assert (none.code, "tidegate run" in none.err) == (2, True)
    assert tidegate("deploy", "--project", registry.folder).code == 0
    first = tidegate("rollback", "--project", registry.folder)
    assert (first.code, "the first that served" in first.err) == (2, True)


def test_rollback_passes_over_what_was_taken_back(
    tidegate: Command, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that failed its smoke check while it served is not gone back to."""
    import flows.promotion
    from checks.model.fresh import check_answers

    answers = iter([True, False])
    with monkeypatch.context() as second_fails:
        second_fails.setattr(
            flows.promotion,
            "check_answers",
            lambda given, expected: check_answers(
                given if next(answers) else given[::-1] + "?", expected
            ),
        )
        served.judged()
        assert tidegate("deploy", "--project", served.folder).code == 1
    assert served.aliases == {"champion": "2", "previous": "1"}
    assert tidegate("rollback", "--project", served.folder).code == 0
    assert served.aliases["champion"] == "1"


@pytest.mark.parametrize("moved_to", [None, "3"])
def test_an_alias_that_was_moved_by_hand_comes_back(
    tidegate: Command, served: Any, moved_to: str | None
) -> None:
    """Deleted or put elsewhere, it goes back to the version that serves by the ledger."""
    served.judged("failed")
    served.tracker.point("flights", "champion", moved_to)
    assert tidegate("rollback", "--project", served.folder).code == 0
    assert served.aliases["champion"] == "2"


def test_a_number_that_was_given_anew_is_another_version(tidegate: Command, served: Any) -> None:
    """After the registered model was renamed, a refused candidate is version 1 again."""
    served.tracker._client.rename_registered_model("flights", "old flights")
    refused = served.judged("failed")
    assert refused.version == "1"
    ended = tidegate("rollback", "--to", "1", "--project", served.folder, "--json")
    assert ended.code == 1
    assert ended.document["reasons"][0].startswith("checksum:")
    assert served.aliases == {}
