"""Files as people have them: read right, or rejected with the cells and the option that reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leeway.data.cells import NumberFormat
from leeway.data.csv_table import TableError
from leeway.data.tabular import ReadOptions, TrainingData, read_table
from leeway.data.text_column import CellOptions
from leeway.schema import Target

ROWS = 600
LABELS = [place % 2 for place in range(ROWS)]


def read(folder: Path, columns: dict[str, Any], separator: str = ",", **options: Any) -> TrainingData:  # noqa: ANN401 (the fields of CellOptions)
    """Write columns of text as a CSV file with the target y, and read it."""
    frame = pd.DataFrame({"y": LABELS} | columns)
    frame.to_csv(folder / "data.csv", index=False, sep=separator)
    return read_table(folder / "data.csv", target="y", options=ReadOptions(cells=CellOptions(**options)))


def with_cells(values: list[str], cells: dict[int, str]) -> list[str]:
    """The values with other texts in these rows, which count from 0."""
    return [cells.get(place, value) for place, value in enumerate(values)]


NUMBERS = [f"{place % 97 + 0.5}" for place in range(ROWS)]


def test_none_is_a_value_of_a_text_column(tmp_path: Path) -> None:
    """`None` among `Basic` and `Gold` is a category, and this is said; an empty cell is missing."""
    plans = with_cells([("None", "Basic", "Gold")[place % 3] for place in range(ROWS)], {0: ""})
    table = read(tmp_path, {"plan": plans})
    assert table.frame["plan"].tolist() == [None, *plans[1:]]
    (note,) = table.notes
    assert note.startswith(
        "column plan: 199 cells are 'None', which is a value in a column of text; to read it as missing"
    )


def test_a_missing_text_may_be_named(tmp_path: Path) -> None:
    """`--missing None` makes it missing, in columns of every kind."""
    plans = [("None", "Basic")[place % 2] for place in range(ROWS)]
    table = read(tmp_path, {"plan": plans, "fee": with_cells(NUMBERS, {3: "None"})}, missing=frozenset({"None"}))
    assert table.frame.isna().sum().to_dict() == {"plan": ROWS // 2, "fee": 1}


def test_blank_cells_of_numbers_are_missing_and_said(tmp_path: Path) -> None:
    """Eleven cells with a blank among numbers: a number that may be missing, with a note of the cells."""
    table = read(tmp_path, {"total": with_cells(NUMBERS, dict.fromkeys(range(100, 111), " ") | {0: "NA"})})
    assert (table.schema["total"].kind, int(table.frame["total"].isna().sum())) == ("number", 12)
    assert table.notes == ("column total: 12 cells are read as missing: 'NA' (1), ' ' (11)",)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            dict.fromkeys(range(487, 498), "?"),
            "column total: 11 of 600 cells are not numbers, the first '?' in line 489; read such cells as missing with",
        ),
        (
            {5: "-"},
            "1 of 600 cells is not a number, the first '-' in line 7; read such cells as missing with --missing -,",
        ),
        ({5: "n.a.", 6: "?", 7: "?"}, "3 of 600 cells are not numbers, the first 'n.a.' in line 7; read such cells as"),
        (dict.fromkeys(range(500), "?"), "500 of 600 cells are not numbers, the first '?' in line 2"),
        ({5: "1,5"}, "1 of 600 cells is not a number, the first '1,5' in line 7"),
        ({5: "true"}, "1 of 600 cells is not a number, the first 'true' in line 7"),
        ({5: "2020-01-31"}, "1 of 600 cells is not a number, the first '2020-01-31' in line 7"),
    ],
)
def test_other_cells_among_numbers_are_named(tmp_path: Path, cells: dict[int, str], message: str) -> None:
    """The message has column, number of cells, the first cell's line and text, and both ways out."""
    with pytest.raises(TableError) as caught:
        read(tmp_path, {"total": with_cells(NUMBERS, cells)})
    assert message in str(caught.value)


def test_both_ways_out_work(tmp_path: Path) -> None:
    """`--missing '?'` reads numbers with gaps, `--text` categories."""
    grades = with_cells([str(place % 5) for place in range(ROWS)], {3: "?"})
    as_missing = read(tmp_path, {"grade": grades}, missing=frozenset({"?"}))
    assert (as_missing.schema["grade"].kind, int(as_missing.frame["grade"].isna().sum())) == ("integer", 1)
    as_text = read(tmp_path, {"grade": grades}, text=frozenset({"grade"}))
    assert sorted(as_text.frame["grade"].unique()) == ["0", "1", "2", "3", "4", "?"]


@pytest.mark.parametrize(
    ("write", "options", "number_format"),
    [
        (lambda number: f"{number:.2f}".replace(".", ","), "--decimal ,", NumberFormat(",")),
        (
            lambda number: f"{number * 1000:,.2f}".translate(str.maketrans(",.", ".,")),
            "--decimal , --thousands .",
            NumberFormat(",", "."),
        ),
        (lambda number: f"{number * 1000:,.2f}", "--thousands ,", NumberFormat(".", ",")),
        (lambda number: f"{number * 1000:,.0f}", "--decimal , or --thousands ,", NumberFormat(".", ",")),
        (lambda number: f"{number * 1000:,.2f}".translate(str.maketrans(",.", " ,")), "--decimal , --thousands ' '",
         NumberFormat(",", " ")),
        (lambda number: f"{number * 1000:,.2f}".replace(",", "'"), "--thousands \"'\"", NumberFormat(".", "'")),
    ],
    ids=["1,50", "1.234,50", "1,234.50", "1,234", "1 234,50", "1'234.50"],
)  # fmt: skip
def test_other_formats_of_numbers_are_named(
    tmp_path: Path, write: Callable[[float], str], options: str, number_format: NumberFormat
) -> None:
    """Decimal commas and thousands separators are not guessed: the message has the options that read them."""
    values = [place % 97 + 1.5 for place in range(ROWS)]
    texts = [write(value) for value in values]
    with pytest.raises(TableError) as caught:
        read(tmp_path, {"price": texts}, ";")
    assert f"of 600 cells are numbers in another format, the first {texts[0]!r} in line 2" in str(caught.value)
    assert f"read the file with {options} (or this column as text with --text price)" in str(caught.value)
    found = read(tmp_path, {"price": texts}, ";", number_format=number_format).frame["price"]
    expected = [float(number_format.plain(text) or "nan") for text in texts]
    assert found.tolist() == expected
    assert np.allclose(expected, values) or np.allclose(expected, np.multiply(values, 1_000))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            {3: "?", 4: "-", 5: "?"},
            "the first '0,5' in line 2; read the file with --decimal , --missing '?' --missing -",
        ),
        ({0: "n.a."}, "numbers in another format, such as '1,5'; read the file with --decimal , --missing n.a. (or"),
        ({0: "NA", 7: " "}, "the first '1,5' in line 3; read the file with --decimal , (or"),
    ],
)
def test_other_cells_among_numbers_of_another_format_are_named(
    tmp_path: Path, cells: dict[int, str], message: str
) -> None:
    """One message has the options for both, so that the next try reads the column."""
    prices = with_cells([number.replace(".", ",") for number in NUMBERS], cells)
    with pytest.raises(TableError) as caught:
        read(tmp_path, {"price": prices}, ";")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["data.csv", "data.parquet"])
def test_all_faults_are_named_at_once(tmp_path: Path, name: str) -> None:
    """Each column that cannot be read has its line, the target too; one that can be read has none."""
    frame = pd.DataFrame(
        {
            "id": [f"c{place}" for place in range(ROWS)],
            "joined": "12-Jan-2020",
            "fee": with_cells(NUMBERS, {5: "?"}),
            "age": [place % 60 for place in range(ROWS)],
            "y": with_cells(["left", "stayed"] * (ROWS // 2), {9: ""}),
        }
    )
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame.to_parquet(tmp_path / "data.parquet")
    with pytest.raises(TableError) as caught:
        read_table(tmp_path / name, target="y")
    first, *lines = str(caught.value).splitlines()
    assert first == f"{name}: 4 columns cannot be read as they are:"
    assert [line.split(":")[0] for line in lines] == ["  column y", "  column id", "  column joined", "  column fee"]
    assert "1 of 600 cells is not a number, the first '?' in" in lines[-1]


@pytest.mark.parametrize("different", [ROWS, 20])
@pytest.mark.parametrize("write", ["{:.1f}%", "{:.1f} %", "${:,.2f}", "{:.2f} €", "-£{:.0f}", "{:.0f}‰"])
def test_numbers_with_a_sign_are_named(tmp_path: Path, write: str, different: int) -> None:
    """Percentages and amounts of money are not read as categories, few or many of them, unless `--text` says so."""
    cells = [write.format(place % different) for place in range(ROWS)]
    with pytest.raises(TableError) as caught:
        read(tmp_path, {"rate": cells}, ";")
    assert f"column rate: 600 of 600 cells are numbers with a sign, such as {cells[0]!r}" in str(caught.value)
    as_text = read(tmp_path, {"rate": cells}, ";", text=frozenset({"rate"}), group_rare=2)
    assert as_text.schema["rate"].kind == "category"


@pytest.mark.parametrize("write", ["2020-{:02}", "2021/{:02}", "1999-W{:02}", "2024-Q{}"])
def test_months_weeks_and_quarters_are_dates(tmp_path: Path, write: str) -> None:
    """They are never the same again, so as categories all of them would be new."""
    with pytest.raises(
        TableError, match=r"column month: has dates, the first '.*1' in line 2, which are not a feature"
    ):
        read(tmp_path, {"month": [write.format(place % 4 + 1) for place in range(ROWS)]})


@pytest.mark.parametrize(
    ("text", "names", "note"),
    [
        (",a,y\n0,1,yes\n1,2,no\n", ("a",), "column 1 has no name and is left out"),
        ("a;b;y;\n1;2;yes;\n2;3;no;\n", ("a", "b"), "column 4 has no name and is left out"),
        ("a, b, y\n1, 2, yes\n2, 3, no\n", ("a", "b"), "blanks around the names of columns do not count"),
    ],
    ids=["the index of pandas", "a separator at the end", "blanks"],
)
def test_headers_as_programs_write_them(tmp_path: Path, text: str, names: tuple[str, ...], note: str) -> None:
    """Columns without a name are left out and blanks around names ignored, both with a note."""
    (tmp_path / "data.csv").write_text(text)
    table = read_table(tmp_path / "data.csv", target="y")
    assert (table.schema.names, table.notes[-1]) == (names, note)
    assert table.labels.tolist() == ["yes", "no"]


def test_utf_16_is_named(tmp_path: Path) -> None:
    """Spreadsheets write it as "Unicode text"."""
    (tmp_path / "data.csv").write_text("a\ty\n1\t0\n", encoding="utf-16")
    with pytest.raises(TableError, match="line 1: is UTF-16; save the file as UTF-8"):
        read_table(tmp_path / "data.csv", target="y")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_separator_is_recognized_and_said(tmp_path: Path, separator: str) -> None:
    """Semicolons, tabs and bars separate as well as commas, and the note says so; a given one is not tried."""
    table = read(tmp_path, {"price": NUMBERS, "kind": ["a, b", "c"] * (ROWS // 2)}, separator)
    assert (table.schema.names, table.notes) == (("price", "kind"), (f"the separator is {separator!r}",))
    with pytest.raises(TableError, match=r"line 1: has one column, .* the separator is likely"):
        read_table(tmp_path / "data.csv", target="y", options=ReadOptions(separator="^"))


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (list(range(1, ROWS + 1)), "column k: its values count the rows from 1, like a row number; if it identifies"),
        (
            [place * 7919 % 10007 for place in range(ROWS)],
            "column k: its integers are all different, like an id; if it",
        ),
        (
            [label * 10 + place % 5 for place, label in enumerate(LABELS)],
            "column k alone predicts the target with a ROC",
        ),
        (
            [-label * 10.5 - place % 5 for place, label in enumerate(LABELS)],
            "predicts the target with a ROC AUC of 1.000",
        ),
        (
            [None if label else place % 5 for place, label in enumerate(LABELS)],
            "predicts the target with a ROC AUC of 1.",
        ),
        ([("stays", "leaves")[label] for label in LABELS], "predicts the target with a ROC AUC of 1.000"),
        ([place % 50 for place in range(ROWS)], None),
        ([place / 7 for place in range(ROWS)], None),
        ([f"r{place % 90}" for place in range(0, ROWS * 7, 7)], None),
    ],
)
def test_columns_that_are_too_good_are_warned_of(tmp_path: Path, values: list[Any], warning: str | None) -> None:
    """Row numbers, ids and what gives the target away are named, with the option that leaves them out."""
    labels = np.random.default_rng(0).permutation(LABELS) if warning is None else LABELS
    frame = pd.DataFrame({"k": values, "other": [place % 4 for place in range(ROWS)], "y": labels})
    frame.to_csv(tmp_path / "data.csv", index=False)
    warnings = read_table(tmp_path / "data.csv", target="y").warnings
    if warning is None:
        assert warnings == ()
    else:
        assert warning in warnings[0]
        assert all(each.endswith(("--id k", "--drop k")) for each in warnings)


def test_the_positive_class_may_be_named(tmp_path: Path) -> None:
    """Any two texts are a target if one is named, with or without the blanks around it."""
    frame = pd.DataFrame({"a": range(ROWS), "y": [(" <=50K", " >50K")[label] for label in LABELS]})
    frame.to_csv(tmp_path / "data.csv", index=False)
    for positive in (">50K", " >50K"):
        table = read_table(tmp_path / "data.csv", target="y", options=ReadOptions(positive=positive))
        assert table.schema.target == Target("y", "binary", ("<=50K", ">50K"), ">50K")
        assert table.labels.tolist() == [("<=50K", ">50K")[label] for label in LABELS]
    inverted = read_table(tmp_path / "data.csv", target="y", options=ReadOptions(positive="<=50K"))
    assert inverted.schema.target.positive == "<=50K"
    with pytest.raises(TableError, match="has no 'rich', which --positive names; its classes are '<=50K', '>50K'"):
        read_table(tmp_path / "data.csv", target="y", options=ReadOptions(positive="rich"))


def test_blanks_around_a_category_are_kept_and_said(tmp_path: Path) -> None:
    """` Gold` and `Gold` are two categories, and the note says so."""
    table = read(tmp_path, {"plan": with_cells(["Gold", "Basic"] * (ROWS // 2), {0: " Gold", 2: " Gold"})})
    assert sorted(table.frame["plan"].unique()) == [" Gold", "Basic", "Gold"]
    assert table.notes == ("column plan: 2 cells are kept with the blanks around the text, such as ' Gold'",)


def test_hundreds_of_texts_may_be_grouped(tmp_path: Path) -> None:
    """Without `--group-rare` they are rejected, and the message names it."""
    cities = [f"city {place % 250}" for place in range(ROWS)]
    with pytest.raises(TableError, match="more than 100 different values; group the rare ones with --group-rare 20"):
        read(tmp_path, {"city": cities})
    assert read(tmp_path, {"city": cities}, group_rare=20).frame["city"].tolist() == cities


UNTIDY = pd.DataFrame(
    {
        "plan": ["None", "Basic", "", "Gold", "NA", " Gold"] * 100,
        "total": [None if place % 7 == 0 else place / 8 for place in range(ROWS)],
        "visits": pd.array([None if place % 5 == 0 else place % 30 for place in range(ROWS)], dtype="Int64"),
        "age": [float(place % 60) if place % 9 else None for place in range(ROWS)],
        "rate": [float(place % 3) for place in range(ROWS)],
        "paperless": pd.array([None if place % 11 == 0 else place % 2 == 0 for place in range(ROWS)], dtype="boolean"),
        "code": [("1", "2", "NA", "")[place % 4] for place in range(ROWS)],
        "kind": pd.Categorical(["a", "b", "c"] * 200),
        "y": ["yes", "no"] * 300,
    }
)


def test_csv_and_parquet_are_read_alike(tmp_path: Path) -> None:
    """The same table gives the same schema, values, labels and notes, but for where a cell is."""
    UNTIDY.to_parquet(tmp_path / "data.parquet")
    UNTIDY.to_csv(tmp_path / "data.csv", index=False)
    pd.read_csv(tmp_path / "data.csv", keep_default_na=False, na_values=[""]).to_parquet(tmp_path / "again.parquet")
    tables = [read_table(tmp_path / name, target="y") for name in ("data.csv", "data.parquet", "again.parquet")]
    kinds = {feature.name: (feature.kind, feature.nullable) for feature in tables[0].schema}
    assert kinds == {
        "plan": ("category", True), "total": ("number", True), "visits": ("integer", True), "age": ("integer", True),
        "rate": ("number", False), "paperless": ("flag", True), "code": ("integer", True), "kind": ("category", False),
    }  # fmt: skip
    for each in tables[1:]:
        assert each.schema == tables[0].schema
        pd.testing.assert_frame_equal(each.frame, tables[0].frame)
        assert each.labels.tolist() == tables[0].labels.tolist()
        assert each.notes == tables[0].notes


def test_a_cell_of_parquet_is_named_by_its_row(tmp_path: Path) -> None:
    """Rows count from 1."""
    pd.DataFrame({"a": with_cells(NUMBERS, {4: "?"}), "y": LABELS}).to_parquet(tmp_path / "data.parquet")
    with pytest.raises(TableError, match=r"1 of 600 cells is not a number, the first '\?' in row 5"):
        read_table(tmp_path / "data.parquet", target="y")
