"""The bundled sample: flights out of New York in 2013, and what was asked about later."""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "samples" / "flights"
"""A whole project: table, contract and project file."""


def traffic(month: str) -> pd.DataFrame:
    """Return the flights of a month after the table's end, labels included.

    Parameters
    ----------
    month : str
        From ``2013-07`` to ``2013-12``.
    """
    return pd.read_parquet(FOLDER / "traffic" / f"{month}.parquet")
