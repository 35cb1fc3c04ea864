from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from leeway.data.extract import LAYOUT, read_extract
from leeway.schema import CHURN_SCHEMA

REAL = Path(__file__).parents[5] / "shared" / "data" / "streamflow"
Change = Callable[[str], str]


def test_layout_holds_the_schema() -> None:
    """Every feature of the built-in schema is found in exactly one file."""
    named = [name for layout in LAYOUT.values() for name in layout.features]
    assert sorted(named) == sorted(CHURN_SCHEMA.names)


def test_columns_are_typed(folder: Path) -> None:
    """Cells come out as the schema's kinds, in its order, with nulls kept where they are allowed."""
    extract = read_extract(folder)
    assert extract.user_ids == ["a-1", "b-2", "c-3"]
    assert tuple(extract.columns) == CHURN_SCHEMA.names
    assert [values[2] for values in extract.columns.values()] == [
        72, 20.0, True, None, None, "No", 0.0, 0.5, 2, 0, 0, 0, 1, 10.0,
    ]  # fmt: skip
    assert extract.columns["plan_stream_tv"] == [False, True, None]
    assert isinstance(extract.columns["monthly_fee"][2], float)


def test_labels_are_zero_and_one(folder: Path) -> None:
    """Labels are read in any letter case, and are 1 for a customer who left."""
    assert read_extract(folder).labels == [0, 1, 0]


def test_labels_may_be_absent(folder: Path) -> None:
    """An extract without labels.csv has no labels, and is no error."""
    (folder / "labels.csv").unlink()
    assert read_extract(folder).labels is None


def test_what_is_no_feature_is_named_once(folder: Path) -> None:
    """Known files and columns that are no features are passed over, each named once, where they are there."""
    assert read_extract(folder).passed_over == ("users.csv", "contract_type", "total_paid")
    (folder / "users.csv").unlink()
    assert read_extract(folder).passed_over == ("contract_type", "total_paid")


def test_other_files_are_no_concern(folder: Path) -> None:
    """What is not CSV may lie beside the extract."""
    (folder / "README.md").write_text("about")
    assert len(read_extract(folder)) == 3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("byte order mark", lambda text: "\ufeff" + text),
        ("CRLF", lambda text: text.replace("\n", "\r\n")),
        ("quoted cells", lambda text: "".join(f'"{line}"\n' for line in text.replace(",", '","').splitlines())),
        ("column order", lambda text: "".join(",".join(line.split(",")[::-1]) + "\n" for line in text.splitlines())),
        ("row order", lambda text: "".join(f"{text.splitlines()[row]}\n" for row in (0, 3, 1, 2))),
    ],
)  # fmt: skip
def test_form_does_not_matter(folder: Path, name: str, change: Change) -> None:
    """A byte order mark, CRLF, quotes, and the order of columns and rows change nothing."""
    expected = read_extract(folder)
    for file in (*LAYOUT, "labels.csv"):
        text = (folder / file).read_bytes().decode()
        (folder / file).write_bytes(
            (change(text) if name != "row order" or file != "subscriptions.csv" else text).encode()
        )
    extract = read_extract(folder)
    assert (extract.user_ids, extract.columns, extract.labels) == (
        expected.user_ids,
        expected.columns,
        expected.labels,
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="the StreamFlow extracts are not beside the project")
@pytest.mark.parametrize("month", ["month_000", "month_001"])
def test_real_extracts(month: str) -> None:
    """Both real months are read whole: 7,043 customers, typed, labelled, with what is no feature passed over."""
    extract = read_extract(REAL / month)
    assert len(extract) == len(extract.labels or []) == 7_043
    assert extract.passed_over == ("users.csv", "contract_type", "total_paid")
    place = extract.user_ids.index("7590-VHVEG")
    features = {name: values[place] for name, values in extract.columns.items()}
    assert CHURN_SCHEMA.problems(features) == {}
    assert {name: features[name] for name in ("months_active", "monthly_fee", "paperless_billing", "net_service")} == {
        "months_active": 1,
        "monthly_fee": 29.85,
        "paperless_billing": True,
        "net_service": "DSL",
    }
    assert sum(value is None for value in extract.columns["plan_stream_tv"]) == 1_526
