"""What a request of labels must be."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipelines.features import level_name
from pipelines.serving.log import Label
from pipelines.serving.protocol import read_json
from pipelines.serving.schema import RequestError

_FORM = "the body is an object with labels, alone: a list of objects with request_id and label"
_KNOWN = {"request_id", "row", "label", "time"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_MOST_ROW = 2**31 - 1


def read_labels(
    body: bytes, content_type: str | None, *, classes: Sequence[Any], maximum: int
) -> list[Label]:
    """Read ``{"labels": [{"request_id": .., "row": 0, "label": .., "time": ..}]}``.

    ``row`` is the row's place in its request, from 0, which is the default; ``time`` is when the
    truth was seen, ISO 8601.

    Parameters
    ----------
    body : bytes
    content_type : str or None
        The header.
    classes : sequence
        A label is one of them. ``1.0`` is 1, for whoever sends what a table of numbers made of it.
    maximum : int
        Most labels of one request.

    Raises
    ------
    RequestError
        Names the first broken rule, and never the label.
    """
    sent = read_json(body, content_type)
    if not isinstance(sent, dict) or sent.keys() != {"labels"}:
        raise RequestError.of(_FORM)
    labels = sent["labels"]
    if not isinstance(labels, list) or not all(isinstance(each, dict) for each in labels):
        raise RequestError.of(_FORM)
    if not labels:
        raise RequestError.of("a request holds at least one label")
    if len(labels) > maximum:
        raise RequestError.of(f"a request holds at most {maximum} labels", status=413)
    known = {level_name(label): label for label in classes}
    return [_label(each, place, known) for place, each in enumerate(labels)]


def _label(sent: Mapping[str, Any], place: int, classes: Mapping[str, Any]) -> Label:
    def refuse(field: str, rule: str) -> RequestError:
        return RequestError.of(f"{rule}; it is not in label {place} (from 0)", column=field)

    unknown = sent.keys() - _KNOWN
    if unknown:
        raise RequestError.of(
            f"a label has request_id, row, label and time, and nothing else; label {place} has"
        )
    request_id, row = sent.get("request_id"), sent.get("row", 0)
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise refuse("request_id", "request_id is up to 64 letters, digits and . _ : -")
    if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row <= _MOST_ROW:
        raise refuse("row", "row is a place in its request, from 0")
    said = sent.get("label")
    if not isinstance(said, str | int | float | bool) or level_name(said) not in classes:
        raise refuse("label", "label is a class of the model")
    return Label(request_id, row, classes[level_name(said)], _seen(sent.get("time"), refuse))


def _seen(said: Any, refuse: Any) -> datetime | None:
    if said is None:
        return None
    try:
        time = datetime.fromisoformat(said)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as err:
        raise refuse("time", "time is ISO 8601, or null") from err
