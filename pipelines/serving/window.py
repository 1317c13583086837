"""What the prediction log holds of a stretch of time: what was asked, said, and true."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pipelines.scoring import PREDICTION, PROBABILITY
from pipelines.serving.archive import read_archive
from pipelines.serving.tables import (
    LABELS,
    PREDICTIONS,
    SHADOWS,
    engine_of,
    instant_of,
    unreachable,
)

_ABOUT = ("request_id", "row", "version", "label", "label_time", "flags", "shadow_prediction")
_MOST_IN = 500


class _Row(NamedTuple):
    request_id: str
    row: int
    model_version: str
    time: datetime
    inputs: str
    prediction: str
    probabilities: str
    flags: str | None


_ARCHIVED = (*_Row._fields, "shadow_prediction")


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of the log.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns + 1 + n_classes)
        The inputs, ``prediction`` and ``probability_<class>``, as `pipelines.scoring.score`
        gives them, indexed by the time of the request, in UTC; the oldest first.
    about : DataFrame of shape (n_rows, 7)
        Of the same rows: ``request_id``, ``row``, ``version``, ``label`` and ``label_time``
        (None where no label has come), ``flags`` (columns with a level never seen) and
        ``shadow_prediction`` (None where no other version was asked).
    """

    frame: pd.DataFrame
    about: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def labelled(self) -> "pd.Series[bool]":
        """Which rows have a label."""
        return self.about["label"].notna()


def read_window(
    url: str,
    *,
    name: str,
    version: str | None = None,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    archive: Path | None = None,
) -> Window:
    """Read what a model was asked, what it said, and the truth as far as it has come.

    Parameters
    ----------
    url : str
        The log's address.
    name : str
        The registered model.
    version : str, optional
        By default every version.
    since, until : str or datetime, optional
        The window: from ``since``, up to but not at ``until``. ISO 8601; UTC where they
        name no time zone.
    archive : Path, optional
        The folder of the log's old days, read as well.

    Returns
    -------
    Window
        Empty where nothing was asked.

    Raises
    ------
    InputError
        A time that cannot be read, or an address that is none.
    ServiceError
        The database cannot be reached or read.
    """
    table = PREDICTIONS.c
    conditions = _conditions(name, version, since, until)
    asked = (
        sa.select(
            table.key,
            table.request_id,
            table.row,
            table.model_version,
            table.time,
            table.inputs,
            table.prediction,
            table.probabilities,
            table.flags,
        )
        .where(*conditions)
        .order_by(table.time, table.id)
    )
    inside = sa.select(table.request_id).where(*conditions)
    told = (
        sa.select(LABELS.c.request_id, LABELS.c.row, LABELS.c.label, LABELS.c.arrived)
        .where(LABELS.c.model_name == name, LABELS.c.request_id.in_(inside))
        .order_by(LABELS.c.id)
    )
    shadowed = (
        sa.select(SHADOWS.c.request_id, SHADOWS.c.row, SHADOWS.c.prediction)
        .where(SHADOWS.c.model_name == name, SHADOWS.c.request_id.in_(inside))
        .order_by(SHADOWS.c.id)
    )
    rows, labels, shadows = _read(url, asked, told, shadowed)
    shadow = {(id, row): json.loads(text) for id, row, text in shadows}
    # The database first: a row that goes to the archive meanwhile is in both, and not in none.
    old = _archived(archive, _ARCHIVED, name, version, since, until)
    if old:
        keys = {row["key"] for row in old}
        rows = [_Row(**{part: row[part] for part in _Row._fields}) for row in old] + [
            _Row(*row[1:]) for row in rows if row.key not in keys
        ]
        rows.sort(key=lambda row: row.time)
        labels = [*labels, *_labels_of(url, name, {row["request_id"] for row in old})]
        shadow |= {
            (row["request_id"], row["row"]): json.loads(row["shadow_prediction"])
            for row in old
            if row["shadow_prediction"] is not None
        }
    return _window(rows, labels, shadow)


def versions(
    url: str,
    *,
    name: str,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    archive: Path | None = None,
) -> dict[str, int]:
    """Return how many rows each version of a model answered in a window."""
    conditions = _conditions(name, None, since, until)
    wanted = (
        sa.select(PREDICTIONS.c.model_version, sa.func.count())
        .where(*conditions)
        .group_by(PREDICTIONS.c.model_version)
    )
    rows, held = _read(url, wanted, _keys(archive, conditions))
    counts = {str(version): int(count) for version, count in rows}
    for row in _archived(archive, ("model_version",), name, None, since, until, held):
        counts[row["model_version"]] = counts.get(row["model_version"], 0) + 1
    return counts


def labelled_rows(
    url: str,
    *,
    name: str,
    version: str | None = None,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    archive: Path | None = None,
) -> int:
    """Return how many rows of a window have a label, without reading them."""
    conditions = _conditions(name, version, since, until)
    joined = sa.and_(
        LABELS.c.request_id == PREDICTIONS.c.request_id,
        LABELS.c.row == PREDICTIONS.c.row,
        LABELS.c.model_name == PREDICTIONS.c.model_name,
    )
    wanted = (
        sa.select(sa.func.count(sa.distinct(PREDICTIONS.c.id)))
        .select_from(PREDICTIONS.join(LABELS, joined))
        .where(*conditions)
    )
    rows, held = _read(url, wanted, _keys(archive, conditions))
    count = int(rows[0][0]) if rows else 0
    old = _archived(archive, ("request_id", "row"), name, version, since, until, held)
    if not old:
        return count
    told = {(id, row) for id, row, *_ in _labels_of(url, name, {r["request_id"] for r in old})}
    return count + sum((row["request_id"], row["row"]) in told for row in old)


def labels_since(url: str, *, name: str, since: datetime) -> int:
    """Return how many rows were labelled for the first time after an instant."""
    first = (
        sa.select(sa.func.min(LABELS.c.arrived).label("first"))
        .where(LABELS.c.model_name == name)
        .group_by(LABELS.c.request_id, LABELS.c.row)
        .subquery()
    )
    wanted = sa.select(sa.func.count()).select_from(first).where(first.c.first > instant_of(since))
    (rows,) = _read(url, wanted)
    return int(rows[0][0]) if rows else 0


def first_time(
    url: str, *, name: str, version: str, archive: Path | None = None
) -> datetime | None:
    """Return when a version was first asked; None where it never was."""
    wanted = sa.select(sa.func.min(PREDICTIONS.c.time))
    (rows,) = _read(url, wanted.where(*_conditions(name, version, None, None)))
    old = [row["time"] for row in _archived(archive, (), name, version, None, None)]
    return _utc(min([*old, *_times(rows)], default=None))


def last_times(
    url: str, *, name: str, archive: Path | None = None
) -> tuple[datetime | None, datetime | None]:
    """Return when a model was last asked, and when a label last came; None where never.

    What a clock that was ahead wrote down for a time that has not come is left out: it would
    hide that nothing comes any more.
    """
    now = instant_of(datetime.now(UTC))
    asked, told = PREDICTIONS.c, LABELS.c
    request, label = _read(
        url,
        sa.select(sa.func.max(asked.time)).where(asked.model_name == name, asked.time <= now),
        sa.select(sa.func.max(told.arrived)).where(told.model_name == name, told.arrived <= now),
    )
    last = max(_times(request), default=None)
    if last is None:
        old = _archived(archive, (), name, None, None, now)
        last = max((row["time"] for row in old), default=None)
    return _utc(last), _utc(max(_times(label), default=None))


def _archived(
    archive: Path | None,
    columns: Sequence[str],
    name: str,
    version: str | None,
    since: str | datetime | None,
    until: str | datetime | None,
    held: Sequence[Any] = (),
) -> list[dict[str, Any]]:
    """Return the archived rows of a window, but for those whose key the database holds too."""
    rows = read_archive(
        archive,
        columns,
        name=name,
        version=None if version is None else str(version),
        since=None if since is None else instant_of(since),
        until=None if until is None else instant_of(until),
    )
    both = {key for (key,) in held}
    return [row for row in rows if row["key"] not in both]


def _keys(archive: Path | None, conditions: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """Ask for the keys that may be in the archive too; for none where there is none."""
    there = archive is not None and archive.is_dir()
    return sa.select(PREDICTIONS.c.key).where(*conditions, *([] if there else [sa.false()]))


def _labels_of(url: str, name: str, ids: Collection[str]) -> list[Any]:
    asked = sorted(ids)
    queries = [
        sa.select(LABELS.c.request_id, LABELS.c.row, LABELS.c.label, LABELS.c.arrived)
        .where(LABELS.c.model_name == name, LABELS.c.request_id.in_(asked[at : at + _MOST_IN]))
        .order_by(LABELS.c.id)
        for at in range(0, len(asked), _MOST_IN)
    ]
    return [row for rows in _read(url, *queries) for row in rows]


def _conditions(
    name: str,
    version: str | None,
    since: str | datetime | None,
    until: str | datetime | None,
) -> list[sa.ColumnElement[bool]]:
    found = [PREDICTIONS.c.model_name == name]
    if version is not None:
        found.append(PREDICTIONS.c.model_version == str(version))
    if since is not None:
        found.append(PREDICTIONS.c.time >= instant_of(since))
    if until is not None:
        found.append(PREDICTIONS.c.time < instant_of(until))
    return found


def _read(url: str, *queries: sa.Select[Any]) -> list[Sequence[Any]]:
    """Run queries on one state of the log; each gives nothing where its table is not there."""
    engine = engine_of(url)
    file = engine.url.database if engine.url.get_backend_name() == "sqlite" else None
    found: list[Sequence[Any]] = []
    try:
        # Connecting to a SQLite file that is not there would make an empty one.
        if file is not None and not Path(file).exists():
            return [() for _ in queries]
        with engine.connect() as connection:
            there = sa.inspect(connection)
            tables = set(there.get_table_names())
            absent = set(PREDICTIONS.c.keys()) if PREDICTIONS.name in tables else set()
            if absent:
                absent -= {column["name"] for column in there.get_columns(PREDICTIONS.name)}
            for query in queries:
                if {table.name for table in _tables(query)} <= tables:
                    found.append(connection.execute(_without(query, absent)).all())
                else:
                    found.append(())
    except SQLAlchemyError as err:
        raise unreachable(url, err) from err
    finally:
        engine.dispose()
    return found


def _tables(query: sa.Select[Any]) -> Sequence[Any]:
    return [
        table
        for part in query.get_final_froms()
        for table in sa.sql.util.find_tables(part, include_joins=False, include_aliases=False)
    ]


def _without(query: sa.Select[Any], absent: Collection[str]) -> sa.Select[Any]:
    """Ask an old log, which whoever reads it does not change, for what it has."""
    columns = list(query.selected_columns)
    if not any(column.name in absent for column in columns):
        return query
    kept = [sa.null().label(c.name) if c.name in absent else c for c in columns]
    return query.with_only_columns(*kept, maintain_column_froms=True)


def _window(
    rows: Sequence[Any], labels: Sequence[Any], shadow: Mapping[tuple[str, int], Any]
) -> Window:
    index = pd.DatetimeIndex(
        # In microseconds, which hold every time that a clock may have written.
        np.array([row.time for row in rows], dtype="datetime64[us]"),
        name="time",
    ).tz_localize(UTC)
    # A request that was sent again with its id has more than one answer; the label is of each.
    told = {(id, row): (json.loads(text), arrived) for id, row, text, arrived in labels}
    keys = [(row.request_id, row.row) for row in rows]

    def objects(values: Sequence[Any]) -> "pd.Series[Any]":
        # A Series keeps its type, where a frame would infer one.
        return pd.Series(list(values), index=index, dtype=object)

    about = pd.DataFrame(
        {
            "request_id": [row.request_id for row in rows],
            "row": [row.row for row in rows],
            "version": [row.model_version for row in rows],
            "label": objects([told.get(key, (None, None))[0] for key in keys]),
            "label_time": pd.to_datetime(
                objects([told.get(key, (None, None))[1] for key in keys]), utc=True
            ),
            "flags": objects([json.loads(row.flags or "[]") for row in rows]),
            "shadow_prediction": objects([shadow.get(key) for key in keys]),
        },
        index=index,
        columns=list(_ABOUT),
    )
    inputs = pd.DataFrame([json.loads(row.inputs) for row in rows], index=index)
    said = pd.DataFrame({PREDICTION: [json.loads(row.prediction) for row in rows]}, index=index)
    shares = pd.DataFrame([json.loads(row.probabilities) for row in rows], index=index)
    frame = pd.concat([inputs, said, shares.add_prefix(PROBABILITY)], axis=1)
    return Window(frame, about)


def _times(found: Sequence[Any]) -> list[datetime]:
    return [time for (time,) in found if time is not None]


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)
