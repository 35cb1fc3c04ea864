from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from leeway.data.cells import NumberFormat
from leeway.data.csv_table import TableError
from leeway.data.extract import LAYOUT, ExtractFormat, read_extract
from leeway.data.text_column import CellOptions
from leeway.schema import CHURN_SCHEMA

REAL = Path(__file__).parents[4] / "shared" / "data" / "streamflow"
SUBSCRIPTIONS = (
    "user_id,months_active,plan_stream_tv,plan_stream_movies,contract_type,paperless_billing,monthly_fee,total_paid,net_service\n"
    "a-1,1,False,True,Month-to-month,True,29.85,29.85,DSL\n"
    "b-2,34,True,False,One year,False,99.5,1889.5,Fiber optic\n"
    "c-3,72,,,Two year,true,20,,No\n"
)
USAGE = (
    "user_id,watch_hours_30d,avg_session_mins_7d,unique_devices_30d,skips_7d,rebuffer_events_7d\n"
    "a-1,24.5,29.1,3,4,1\n"
    "b-2,30.25,31,1,6,4\n"
    "c-3,0,0.5,2,0,0\n"
)
PAYMENTS = "user_id,failed_payments_90d\na-1,1\nb-2,0\nc-3,0\n"
SUPPORT = "user_id,support_tickets_90d,ticket_avg_resolution_hrs_90d\na-1,0,16.0\nb-2,2,8.6\nc-3,1,1e1\n"
LABELS = "user_id,churn_label\na-1,False\nb-2,TRUE\nc-3,false\n"
FILES = [*LAYOUT, "labels.csv"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete extract of three customers."""
    texts = {
        "subscriptions.csv": SUBSCRIPTIONS,
        "usage_agg_30d.csv": USAGE,
        "payments_agg_90d.csv": PAYMENTS,
        "support_agg_90d.csv": SUPPORT,
        "labels.csv": LABELS,
        "users.csv": "user_id,user_gender\na-1,Female",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path


def put(folder: Path, file: str, old: str, new: str) -> None:
    """Replace one place of a file."""
    text = (folder / file).read_bytes().decode()
    assert text.count(old) == 1
    (folder / file).write_bytes(text.replace(old, new).encode())


def error_of(folder: Path) -> TableError:
    """The error that rejects the folder."""
    with pytest.raises(TableError) as caught:
        read_extract(folder)
    return caught.value


def test_the_layout_has_every_feature() -> None:
    """Each feature of the built-in schema is in exactly one file."""
    named = [name for features in LAYOUT.values() for name in features]
    assert sorted(named) == sorted(CHURN_SCHEMA.names)


def test_columns_are_typed(folder: Path) -> None:
    """Values are of the schema's kinds, in its order, and null where a cell is empty."""
    extract = read_extract(folder)
    assert extract.user_ids == ["a-1", "b-2", "c-3"]
    assert tuple(extract.columns) == CHURN_SCHEMA.names
    assert [values[2] for values in extract.columns.values()] == [
        72, 20.0, True, None, None, "No", 0.0, 0.5, 2, 0, 0, 0, 1, 10.0,
    ]  # fmt: skip
    assert extract.columns["plan_stream_tv"] == [False, True, None]
    assert isinstance(extract.columns["monthly_fee"][2], float)


def test_labels_are_zero_and_one(folder: Path) -> None:
    """Labels are read in any letter case; 1 is a customer who left."""
    assert read_extract(folder).labels == [0, 1, 0]


def test_labels_are_optional(folder: Path) -> None:
    """An extract without labels.csv has no labels."""
    (folder / "labels.csv").unlink()
    assert read_extract(folder).labels is None


def test_known_columns_that_are_no_features_are_skipped(folder: Path) -> None:
    """Skipped files and columns are named once, if they exist; files other than CSV are ignored."""
    (folder / "README.md").write_text("about")
    assert read_extract(folder).skipped == ("users.csv", "contract_type", "total_paid")
    (folder / "users.csv").unlink()
    assert read_extract(folder).skipped == ("contract_type", "total_paid")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f'"{line}"\n' for line in text.replace(",", '","').splitlines()),
        lambda text: "".join(",".join(line.split(",")[::-1]) + "\n" for line in text.splitlines()),
        lambda text: text if text == SUBSCRIPTIONS else "".join(f"{text.splitlines()[row]}\n" for row in (0, 3, 1, 2)),
    ],
    ids=["byte order mark", "CRLF", "quotes", "column order", "row order"],
)
def test_the_form_does_not_matter(folder: Path, change: Callable[[str], str]) -> None:
    """A byte order mark, CRLF, quotes, and the order of columns and rows change nothing."""
    expected = read_extract(folder)
    for file in FILES:
        (folder / file).write_bytes(change((folder / file).read_bytes().decode()).encode())
    extract = read_extract(folder)
    assert (extract.user_ids, extract.columns, extract.labels) == (
        expected.user_ids,
        expected.columns,
        expected.labels,
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="the StreamFlow extracts are not next to the project")
@pytest.mark.parametrize("month", ["month_000", "month_001"])
def test_real_extracts(month: str) -> None:
    """Both real months are read completely: 7,043 typed and labelled customers."""
    extract = read_extract(REAL / month)
    assert len(extract) == len(extract.labels or []) == 7_043
    assert extract.skipped == ("users.csv", "contract_type", "total_paid")
    row = extract.user_ids.index("7590-VHVEG")
    features = {name: values[row] for name, values in extract.columns.items()}
    assert CHURN_SCHEMA.problems(features) == {}
    assert {name: features[name] for name in ("months_active", "monthly_fee", "paperless_billing", "net_service")} == {
        "months_active": 1,
        "monthly_fee": 29.85,
        "paperless_billing": True,
        "net_service": "DSL",
    }
    assert sum(value is None for value in extract.columns["plan_stream_tv"]) == 1_526


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "column", "value", "words"),
    [
        ("subscriptions.csv", "29.85,29.85", "abc,29.85", 2, "monthly_fee", "abc", "must be a number"),
        ("subscriptions.csv", "99.5", "nan", 3, "monthly_fee", "nan", "must not be missing"),
        ("subscriptions.csv", "99.5", "-Infinity", 3, "monthly_fee", "-Infinity", "must be a number"),
        ("subscriptions.csv", "99.5", "1e999", 3, "monthly_fee", "1e999", "must be a finite number"),
        ("subscriptions.csv", "99.5", "9_9", 3, "monthly_fee", "9_9", "must be a number"),
        ("subscriptions.csv", "99.5", " ", 3, "monthly_fee", " ", "must not be missing"),
        ("subscriptions.csv", "99.5", '"99,5"', 3, "monthly_fee", "99,5", "this format are read with --decimal ,"),
        ("subscriptions.csv", "99.5", "-0.5", 3, "monthly_fee", "-0.5", "must be at least 0"),
        ("subscriptions.csv", "b-2,34", "b-2,34.5", 3, "months_active", "34.5", "must be a whole number"),
        ("subscriptions.csv", "b-2,34", "b-2,x", 3, "months_active", "x", "must be a whole number"),
        ("subscriptions.csv", "b-2,34", "b-2,-1", 3, "months_active", "-1", "must be at least 0"),
        ("subscriptions.csv", "b-2,34", "b-2,", 3, "months_active", "", "must not be missing"),
        ("subscriptions.csv", "DSL", "", 2, "net_service", "", "must not be missing"),
        ("subscriptions.csv", "DSL", "D\aSL", 2, "net_service", "D\aSL", "must not contain control characters"),
        ("subscriptions.csv", ",true,", ",yes,", 4, "paperless_billing", "yes", "must be True or False"),
        ("subscriptions.csv", "34,True", "34,1", 3, "plan_stream_tv", "1", "must be True or False"),
        ("usage_agg_30d.csv", ",4,1", f",{2**63},1", 2, "skips_7d", str(2**63), "must fit in 64 bits"),
        ("usage_agg_30d.csv", ",4,1", ",1e30,1", 2, "skips_7d", "1e30", "must fit in 64 bits"),
        ("usage_agg_30d.csv", ",4,1", f",{'9' * 5000},1", 2, "skips_7d", "9" * 5000, "must fit in 64 bits"),
        ("usage_agg_30d.csv", "24.5", "721", 2, "watch_hours_30d", "721", "must be at most 720"),
        ("labels.csv", "b-2,TRUE", "b-2,", 3, "churn_label", "", "must be True or False"),
        ("payments_agg_90d.csv", "b-2", "", 3, "user_id", "", "must be 1 to 200 characters long"),
        ("payments_agg_90d.csv", "c-3", "a-1", 4, "user_id", "a-1", "is a duplicate of line 2"),
        ("subscriptions.csv", "c-3", "a-1", 4, "user_id", "a-1", "is a duplicate of line 2"),
        ("payments_agg_90d.csv", "c-3,0\n", "c-3,0\nd-4,0\n", 5, "user_id", "d-4", "is not in subscriptions.csv"),
        ("labels.csv", "c-3,false\n", "c-3,false\nd-4,True\n", 5, "user_id", "d-4", "is not in subscriptions.csv"),
        ("subscriptions.csv", ",total_paid", ",tarif", 1, None, None, "unknown column 'tarif'; expected one of"),
        ("payments_agg_90d.csv", "failed_payments_90d", "user_id", 1, None, None, "duplicate column 'user_id'"),
        ("support_agg_90d.csv", "user_id,", "customer,", 1, None, None, "unknown column 'customer'; expected one of"),
        ("payments_agg_90d.csv", PAYMENTS, "user_id\na-1\n", 1, None, None, "missing column 'failed_payments_90d'"),
        ("payments_agg_90d.csv", "b-2,0", "b-2", 3, None, None, "has 1 of 2 fields; was the file cut off?"),
        ("payments_agg_90d.csv", "b-2,0", "b-2,0,0", 3, None, None, "has 3 of 2 fields"),
        ("payments_agg_90d.csv", "b-2,0", "b-2,0\n", 4, None, None, "has 0 of 2 fields"),
        ("payments_agg_90d.csv", "b-2,0", "b-2,\0", 3, None, None, "has a NUL byte"),
        ("payments_agg_90d.csv", "b-2,0", '"b-2,0', 3, None, None, "is not valid CSV (unexpected end of data)"),
        ("payments_agg_90d.csv", "b-2,0", '"b-2"x,0', 3, None, None, "is not valid CSV"),
        ("payments_agg_90d.csv", "b-2,0", "b-\r2,0", 3, None, None, "is not valid CSV"),
        ("payments_agg_90d.csv", "c-3,0\n", "c-3,0", 4, None, "c-3,0", "add a line end if the file is complete"),
    ],
)  # fmt: skip
def test_a_fault_is_located(
    folder: Path, file: str, old: str, new: str, line: int, column: str | None, value: str | None, words: str
) -> None:
    """Each fault is located by file, line, column and value, in the attributes and in the message."""
    put(folder, file, old, new)
    error = error_of(folder)
    assert (error.file, error.line, error.column, error.value) == (file, line, column, value)
    assert str(error).startswith(f"{file}, line {line}{'' if column is None else f', column {column}'}: ")
    assert words in str(error)


def test_the_message_is_one_sentence(folder: Path) -> None:
    """A reader can act on it."""
    put(folder, "subscriptions.csv", "29.85,29.85", "abc,29.85")
    assert str(error_of(folder)) == "subscriptions.csv, line 2, column monthly_fee: 'abc' must be a number"


def test_a_customer_missing_from_a_later_file_is_located(folder: Path) -> None:
    """The error has the line in the first file and the name of the other file."""
    put(folder, "usage_agg_30d.csv", "b-2,30.25,31,1,6,4\n", "")
    assert str(error_of(folder)) == "subscriptions.csv, line 3, column user_id: 'b-2' is not in usage_agg_30d.csv"


def test_cells_may_be_written_in_another_way(folder: Path) -> None:
    """Semicolons are recognized, decimal commas and texts for a missing value are read as the caller says."""
    put(folder, "subscriptions.csv", "34,True", "34,")
    expected = read_extract(folder)
    put(folder, "subscriptions.csv", "34,,", "34,?,")
    for file in FILES:
        (folder / file).write_text((folder / file).read_text().replace(",", ";").replace(".", ","))
    cells = CellOptions(NumberFormat(","), frozenset({"?"}))
    found = read_extract(folder, ExtractFormat(cells=cells))
    assert (found.user_ids, found.columns, found.labels) == (expected.user_ids, expected.columns, expected.labels)
    assert found.separators == (";",)


def test_a_word_among_numbers_and_flags_is_a_missing_value(folder: Path) -> None:
    """As in training data: R and pandas write NA for what is missing."""
    put(folder, "subscriptions.csv", "34,True", "34,NA")
    assert read_extract(folder).columns["plan_stream_tv"][1] is None


def test_a_whole_float_is_an_integer(folder: Path) -> None:
    """A file may write an integer as 34.0, as pandas does for a column with gaps."""
    put(folder, "subscriptions.csv", "b-2,34", "b-2,34.0")
    months = read_extract(folder).columns["months_active"]
    assert (months, {type(each) for each in months}) == ([1, 34, 72], {int})


@pytest.mark.parametrize("text", ["DS\xa0L", "DS\u200bL", "DS\xadL", "DS\ue000L"])
def test_a_category_may_have_unusual_characters(folder: Path, text: str) -> None:
    """A no-break space, a zero-width space, a soft hyphen and private-use characters are valid."""
    put(folder, "subscriptions.csv", "DSL", text)
    assert read_extract(folder).columns["net_service"][0] == text


def test_a_long_value_is_shortened_in_the_message(folder: Path) -> None:
    """A value of several pages does not fill the terminal."""
    put(folder, "subscriptions.csv", "DSL", "x" * 5_000)
    assert len(str(error_of(folder))) < 250


def test_the_line_is_the_editors(folder: Path) -> None:
    """A line end inside a quoted cell counts as a line."""
    put(folder, "subscriptions.csv", "Month-to-month", '"Month\nto\nmonth"')
    put(folder, "subscriptions.csv", "99.5", "much")
    assert error_of(folder).line == 5


def test_a_fault_in_a_later_chunk_is_located(folder: Path) -> None:
    """The line is right however many rows came before."""
    rows = "".join(f"{each},0\n" for each in range(5_000))
    (folder / "payments_agg_90d.csv").write_text(f"user_id,failed_payments_90d\n{rows}x,?\n")
    assert (error_of(folder).line, error_of(folder).value) == (5_002, "?")


@pytest.mark.parametrize("file", FILES)
def test_an_empty_file_is_rejected(folder: Path, file: str) -> None:
    """An empty file and a header without rows are rejected, in any file."""
    header = (folder / file).read_bytes().splitlines(keepends=True)[0]
    (folder / file).write_bytes(b"")
    assert str(error_of(folder)) == f"{file}, line 1: has no header: the file or its first line is empty"
    (folder / file).write_bytes(header)
    assert str(error_of(folder)) == f"{file}, line 1: has a header but no rows"


@pytest.mark.parametrize("file", list(LAYOUT))
def test_every_truncation_is_detected(folder: Path, file: str) -> None:
    """Wherever a file is cut off, the error names the file."""
    whole = (folder / file).read_bytes()
    for length in range(len(whole)):
        (folder / file).write_bytes(whole[:length])
        assert file in str(error_of(folder))


def test_another_encoding_is_rejected(folder: Path) -> None:
    """The error has the line and the byte."""
    put(folder, "subscriptions.csv", "Two year", "Zwei Jahre für c")
    text = (folder / "subscriptions.csv").read_bytes().decode()
    (folder / "subscriptions.csv").write_bytes(text.encode("latin-1"))
    error = error_of(folder)
    assert (error.file, error.line) == ("subscriptions.csv", 4)
    assert "is not UTF-8 (byte fc)" in str(error)


@pytest.mark.parametrize("file", list(LAYOUT))
def test_a_missing_file_is_rejected(folder: Path, file: str) -> None:
    """Each feature file is required."""
    (folder / file).unlink()
    assert str(error_of(folder)).startswith(f"{file}: missing from ")


def test_an_unknown_file_is_rejected(folder: Path) -> None:
    """A CSV file with another name may be a feature file with a typo in its name."""
    (folder / "usage_agg_3Od.csv").write_text(USAGE)
    assert str(error_of(folder)).startswith("usage_agg_3Od.csv: unknown file; expected ")


def test_a_missing_folder_is_rejected(tmp_path: Path) -> None:
    """The error names the folder."""
    assert str(tmp_path / "none") in str(error_of(tmp_path / "none"))
