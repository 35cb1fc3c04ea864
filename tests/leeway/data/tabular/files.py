"""Small files of a column or two, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from leeway.data.tabular import Table, read_table

TARGET = [0, 1, 0, 1]


def csv_file(folder: Path, text: str | bytes) -> Path:
    """A CSV file with this text."""
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def of_csv(folder: Path, text: str | bytes, **options: Any) -> Table:  # noqa: ANN401 (handed on)
    """Such a file, read with target y."""
    return read_table(csv_file(folder, text), **{"target": "y", **options})


def of_parquet(folder: Path, values: object) -> Table:
    """A Parquet file with a column `a` of these values, and a target y, read."""
    pd.DataFrame({"a": values, "y": TARGET}).to_parquet(folder / "data.parquet", index=False)
    return read_table(folder / "data.parquet", target="y")
