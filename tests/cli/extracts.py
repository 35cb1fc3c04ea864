"""Month-end extracts as a provider would deliver them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from leeway.data.extract import LAYOUT
from leeway.data.population import Population

REAL: Final = "LEEWAY_TEST_EXTRACTS"
"""Names a folder with real extracts, `month_000` and `month_001`, for the tests that look at them."""


def real_extracts() -> Path:
    """The folder with the real extracts; skips the test where none is named."""
    folder = os.environ.get(REAL)
    if not folder:
        pytest.skip(f"{REAL} names no folder with real extracts")
    return Path(folder)


def write_extract(folder: Path, people: Population, *, labelled: bool = True) -> Path:
    """Write these people as the CSV files of one month, and return the folder."""
    folder.mkdir(parents=True)
    for file, features in LAYOUT.items():
        lines = [",".join(["user_id", *features])]
        for place, user_id in enumerate(people.user_ids):
            cells = [people.columns[name][place] for name in features]
            lines.append(",".join([user_id, *("" if cell is None else str(cell) for cell in cells)]))
        (folder / file).write_text("\n".join(lines) + "\n")
    if labelled:
        labels = [f"{user_id},{label == 1}" for user_id, label in zip(people.user_ids, people.labels, strict=True)]
        (folder / "labels.csv").write_text("\n".join(["user_id,churn_label", *labels]) + "\n")
    return folder
