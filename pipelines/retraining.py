"""The table to learn from anew: what was learned from before, and what was answered since."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from pipelines.data import Dataset, DataSettings
from pipelines.errors import DataError, ServiceError
from pipelines.features import level_name
from pipelines.serving.window import Window
from pipelines.split import sides


def write_table(
    dataset: Dataset, window: Window, path: Path, *, columns: Sequence[str]
) -> DataSettings:
    """Write the project's table with the labelled rows of the log below it.

    A logged row has the label for its target, the request's time for its time, and a number or
    name for its id that is made of the request's and never changes. A column that the model
    does not read was not logged, and is left out altogether.

    Parameters
    ----------
    dataset : Dataset
    window : Window
        Rows without a label are left out; of a request that was sent twice the last one counts.
    columns : sequence of str
        What the model reads.
    path : Path
        A Parquet file; it is there whole, or not at all.

    Returns
    -------
    DataSettings
        Of the new table. A split by time keeps the shares that the sides had, by new instants.

    Raises
    ------
    DataError
        No row has a label, a label is none that the table has, or a column that the model
        reads was not logged.
    ServiceError
        The file cannot be written.
    """
    settings = dataset.settings
    history = dataset.frame
    if settings.split.method == "time":
        history = history.loc[sides(dataset) != "later"]
    gone = [column for column in columns if column not in window.frame]
    if len(window) and gone:
        raise DataError(
            "A model learns anew from rows that were logged whole.",
            found=f"the prediction log has no column {gone[0]}",
            next_move="take it out of serve.redact, or train on a table that you make yourself",
        )
    logged = _logged(dataset, window)
    whole = pd.concat([history[list(logged)], logged], ignore_index=True)
    for column in whole.columns:
        whole[column] = _as_before(whole[column], history[column])
    _write(whole, path)
    update: dict[str, Any] = {"source": str(path), "query": None, "drop": {}}
    if settings.split.method == "time":
        update["split"] = settings.split.model_copy(update=_instants(dataset, whole))
    return settings.model_copy(update=update)


def _logged(dataset: Dataset, window: Window) -> pd.DataFrame:
    settings, before = dataset.settings, dataset.frame
    about = window.about.reset_index()
    kept = about.index[about["label"].notna()]
    kept = about.loc[kept].drop_duplicates(["request_id", "row"], keep="last").index
    if not len(kept):
        raise DataError(
            "A model learns anew from rows whose label has come.",
            found=f"none of {len(window):,} rows of the prediction log has one",
            next_move="send labels to /v1/labels",
        )
    about, frame = about.loc[kept], window.frame.reset_index(drop=True).loc[kept]
    keys = [f"{id}/{row}" for id, row in zip(about["request_id"], about["row"], strict=True)]
    columns: dict[str, Any] = {}
    for name in before.columns:
        if name == settings.target:
            columns[name] = _labels(about["label"].tolist(), before[name])
        elif name == settings.time:
            columns[name] = _times(about["time"], before[name])
        elif name in (settings.id, settings.group):
            columns[name] = _names(keys, before[name])
        elif name in frame:
            columns[name] = _values(frame[name], before[name])
    return pd.DataFrame(columns)


def _labels(said: Sequence[Any], before: "pd.Series[Any]") -> "pd.Series[Any]":
    known = _levels(before)
    found = [known.get(level_name(label)) for label in said]
    strange = sorted(
        {repr(label)[:40] for label, hit in zip(said, found, strict=True) if hit is None}
    )
    if strange:
        raise DataError(
            "A label is a class that the table has.",
            found=f"{len(strange)} that are none: {', '.join(strange[:5])}",
            next_move="send the right label for those rows; the last one that is sent holds",
        )
    return pd.Series(found, dtype=object)


def _values(logged: "pd.Series[Any]", before: "pd.Series[Any]") -> "pd.Series[Any]":
    logged = logged.reset_index(drop=True)
    if types.is_bool_dtype(before):
        return logged.map({0.0: False, 1.0: True}).astype(object)
    if types.is_numeric_dtype(before):
        return pd.to_numeric(logged, errors="coerce")
    known = _levels(before)
    texts = logged.astype(object)
    return texts.map(lambda text: known.get(text, text), na_action="ignore").astype(object)


def _times(times: "pd.Series[Any]", before: "pd.Series[Any]") -> "pd.Series[Any]":
    zone = getattr(before.dtype, "tz", None)
    stamps = pd.DatetimeIndex(times)
    return pd.Series(stamps.tz_localize(None) if zone is None else stamps.tz_convert(zone))


def _names(keys: Sequence[str], before: "pd.Series[Any]") -> "pd.Series[Any]":
    if not types.is_numeric_dtype(before):
        return pd.Series(list(keys), dtype=object)
    # 52 bits, which a float also holds; among a million rows two meet once in 9,000 tables.
    digests = (hashlib.sha256(key.encode()).digest() for key in keys)
    return pd.Series([int.from_bytes(d[:7], "big") >> 4 for d in digests], dtype="int64")


def _levels(before: "pd.Series[Any]") -> dict[str, Any]:
    return {level_name(value): value for value in before.dropna().unique().tolist()}


def _as_before(whole: "pd.Series[Any]", before: "pd.Series[Any]") -> "pd.Series[Any]":
    """Give a column the type it had, where nothing in it has become missing."""
    if isinstance(before.dtype, pd.CategoricalDtype) or whole.dtype == before.dtype:
        return whole
    if whole.isna().any() and (types.is_integer_dtype(before) or types.is_bool_dtype(before)):
        return pd.to_numeric(whole) if types.is_integer_dtype(before) else whole
    try:
        return whole.astype(before.dtype)
    except (TypeError, ValueError):
        return whole


def _instants(dataset: Dataset, whole: pd.DataFrame) -> dict[str, Any]:
    side = sides(dataset)
    side = side[side != "later"]
    times = whole[dataset.settings.time].sort_values(ignore_index=True)
    rows = len(times)
    sealed = min(rows - 1, int(np.ceil(rows * float((side != "sealed").mean()))))
    validation = min(sealed - 1, int(np.ceil(rows * float((side == "train").mean()))))
    found = {"validation_from": times[validation], "sealed_from": times[sealed]}
    return {key: stamp.to_pydatetime() for key, stamp in found.items()} | {"until": None}


def _write(frame: pd.DataFrame, path: Path) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(part, index=False)
        part.replace(path)
    except OSError as err:
        raise ServiceError(
            "The table to learn from anew is kept in the project's state folder.",
            found=f"{path}: {err.strerror}",
            next_move="free some space or make it writable, or set tracking.folder elsewhere",
        ) from err
    finally:
        part.unlink(missing_ok=True)
