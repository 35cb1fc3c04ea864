"""Month-end extracts as a provider would deliver them."""

from __future__ import annotations

from pathlib import Path

from leeway.extract import LAYOUT
from leeway.population import Population


def write_extract(folder: Path, people: Population, *, labelled: bool = True) -> Path:
    """Write these people as the CSV files of one month, and return the folder."""
    folder.mkdir(parents=True)
    for file, layout in LAYOUT.items():
        lines = [",".join(["user_id", *layout.features])]
        for place, user_id in enumerate(people.user_ids):
            cells = [people.columns[name][place] for name in layout.features]
            lines.append(",".join([user_id, *("" if cell is None else str(cell) for cell in cells)]))
        (folder / file).write_text("\n".join(lines) + "\n")
    if labelled:
        labels = [f"{user_id},{label == 1}" for user_id, label in zip(people.user_ids, people.labels, strict=True)]
        (folder / "labels.csv").write_text("\n".join(["user_id,churn_label", *labels]) + "\n")
    return folder
