from __future__ import annotations

from pathlib import Path

import pytest

from leeway.data.extract import LAYOUT
from tests.leeway.data.extract.files import PAYMENTS, USAGE, error_of, put


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "column", "value", "words"),
    [
        ("subscriptions.csv", "29.85,29.85", "abc,29.85", 2, "monthly_fee", "abc", "must be a number"),
        ("subscriptions.csv", "99.5", "nan", 3, "monthly_fee", "nan", "must be a number"),
        ("subscriptions.csv", "99.5", "-Infinity", 3, "monthly_fee", "-Infinity", "must be a number"),
        ("subscriptions.csv", "99.5", "1e999", 3, "monthly_fee", "1e999", "must be a finite number"),
        ("subscriptions.csv", "99.5", "9_9", 3, "monthly_fee", "9_9", "must be a number"),
        ("subscriptions.csv", "99.5", "-0.5", 3, "monthly_fee", "-0.5", "must be at least 0"),
        ("subscriptions.csv", "b-2,34", "b-2,34.5", 3, "months_active", "34.5", "must be a whole number"),
        ("subscriptions.csv", "b-2,34", "b-2,-1", 3, "months_active", "-1", "must be at least 0"),
        ("subscriptions.csv", "b-2,34", "b-2,", 3, "months_active", "", "must not be missing"),
        ("subscriptions.csv", "DSL", "", 2, "net_service", "", "must not be missing"),
        ("subscriptions.csv", ",true,", ",yes,", 4, "paperless_billing", "yes", "must be True or False"),
        ("subscriptions.csv", "34,True", "34,1", 3, "plan_stream_tv", "1", "must be True or False"),
        ("usage_agg_30d.csv", ",4,1", f",{2**63},1", 2, "skips_7d", str(2**63), "must fit in 64 bits"),
        ("usage_agg_30d.csv", ",4,1", f",{'9' * 5000},1", 2, "skips_7d", "9" * 5000, "must fit in 64 bits"),
        ("usage_agg_30d.csv", "24.5", "721", 2, "watch_hours_30d", "721", "must be at most 720"),
        ("labels.csv", "b-2,TRUE", "b-2,", 3, "churn_label", "", "must be True or False"),
        ("payments_agg_90d.csv", "b-2", "", 3, "user_id", "", "must be 1 to 200 characters long"),
        ("payments_agg_90d.csv", "c-3", "a-1", 4, "user_id", "a-1", "is there twice, on line 2 already"),
        ("subscriptions.csv", "c-3", "a-1", 4, "user_id", "a-1", "is there twice, on line 2 already"),
        ("payments_agg_90d.csv", "c-3,0\n", "c-3,0\nd-4,0\n", 5, "user_id", "d-4", "is not in subscriptions.csv"),
        ("labels.csv", "c-3,false\n", "c-3,false\nd-4,True\n", 5, "user_id", "d-4", "is not in subscriptions.csv"),
        ("subscriptions.csv", ",total_paid", ",tarif", 1, "tarif", None, "is unheard of"),
        ("payments_agg_90d.csv", "failed_payments_90d", "user_id", 1, "user_id", None, "is there twice"),
        ("support_agg_90d.csv", "user_id,", "customer,", 1, "customer", None, "is unheard of"),
        ("payments_agg_90d.csv", "b-2,0", "b-2", 3, None, None, "has 1 of 2 fields; was the file cut off?"),
        ("payments_agg_90d.csv", "b-2,0", "b-2,0,0", 3, None, None, "has 3 of 2 fields"),
        ("payments_agg_90d.csv", "b-2,0", "b-2,0\n", 4, None, None, "has 0 of 2 fields"),
        ("payments_agg_90d.csv", "b-2,0", "b-2,\0", 3, None, None, "holds a NUL byte"),
        ("payments_agg_90d.csv", "b-2,0", '"b-2,0', 3, None, None, "is not CSV (unexpected end of data)"),
        ("payments_agg_90d.csv", "c-3,0\n", "c-3,0", 4, None, "c-3,0", "append a line end if the file is whole"),
    ],
)  # fmt: skip
def test_a_fault_is_named(
    folder: Path, file: str, old: str, new: str, line: int, column: str | None, value: str | None, words: str
) -> None:
    """Each fault is told by file, line, column and value, in the attributes and in the message."""
    put(folder, file, old, new)
    error = error_of(folder)
    assert (error.file, error.line, error.column, error.value) == (file, line, column, value)
    assert str(error).startswith(f"{file}, line {line}{'' if column is None else f', column {column}'}: ")
    assert words in str(error)


def test_the_message_reads_well(folder: Path) -> None:
    """The message is one sentence that a person can act on."""
    put(folder, "subscriptions.csv", "29.85,29.85", "abc,29.85")
    assert str(error_of(folder)) == "subscriptions.csv, line 2, column monthly_fee: 'abc' must be a number"


def test_a_long_value_is_cut_in_the_message(folder: Path) -> None:
    """A value that fills pages does not fill the terminal."""
    put(folder, "subscriptions.csv", "DSL", "x" * 5_000)
    assert len(str(error_of(folder))) < 250


def test_a_customer_missing_from_a_later_file(folder: Path) -> None:
    """A customer who is in the first file only is told with that file's line and the other file's name."""
    put(folder, "usage_agg_30d.csv", "b-2,30.25,31,1,6,4\n", "")
    assert str(error_of(folder)) == "subscriptions.csv, line 3, column user_id: 'b-2' is not in usage_agg_30d.csv"


def test_the_line_is_the_physical_one(folder: Path) -> None:
    """A line end inside a quoted cell counts, so that an editor's line number is meant."""
    put(folder, "subscriptions.csv", "Month-to-month", '"Month\nto\nmonth"')
    put(folder, "subscriptions.csv", "99.5", "much")
    assert error_of(folder).line == 5


def test_missing_column(folder: Path) -> None:
    """A column that is missing is named."""
    put(folder, "payments_agg_90d.csv", PAYMENTS, "user_id\na-1\nb-2\nc-3\n")
    error = error_of(folder)
    assert str(error) == "payments_agg_90d.csv, line 1, column failed_payments_90d: is missing"


@pytest.mark.parametrize("file", [*LAYOUT, "labels.csv"])
def test_an_empty_file(folder: Path, file: str) -> None:
    """An empty file is refused, whichever it is."""
    (folder / file).write_bytes(b"")
    error = error_of(folder)
    assert (error.file, error.line) == (file, 1)
    assert "is empty" in str(error)


@pytest.mark.parametrize("file", [*LAYOUT, "labels.csv"])
def test_a_header_alone(folder: Path, file: str) -> None:
    """A file without customers is refused, whichever it is."""
    header = (folder / file).read_bytes().splitlines(keepends=True)[0]
    (folder / file).write_bytes(header)
    assert str(error_of(folder)) == f"{file}, line 1: has a header and no rows"


@pytest.mark.parametrize("file", list(LAYOUT))
def test_every_cut_is_noticed(folder: Path, file: str) -> None:
    """Wherever a file is cut off, the extract is refused, and the file is named."""
    whole = (folder / file).read_bytes()
    for length in range(len(whole)):
        (folder / file).write_bytes(whole[:length])
        assert file in str(error_of(folder))


def test_not_utf_8(folder: Path) -> None:
    """Another encoding is refused with the line and the byte."""
    put(folder, "subscriptions.csv", "Two year", "Zwei Jahre für c")
    text = (folder / "subscriptions.csv").read_bytes().decode()
    (folder / "subscriptions.csv").write_bytes(text.encode("latin-1"))
    error = error_of(folder)
    assert (error.file, error.line) == ("subscriptions.csv", 4)
    assert "is not UTF-8 (byte fc)" in str(error)


@pytest.mark.parametrize("file", list(LAYOUT))
def test_a_missing_file(folder: Path, file: str) -> None:
    """Each feature file must be there."""
    (folder / file).unlink()
    assert str(error_of(folder)).startswith(f"{file}: is missing from ")


def test_an_unheard_of_file(folder: Path) -> None:
    """A CSV file of another name may be a feature file with a slip in its name: refused."""
    (folder / "usage_agg_3Od.csv").write_text(USAGE)
    assert str(error_of(folder)).startswith("usage_agg_3Od.csv: is not a file of an extract; known are ")


def test_a_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there is refused with its name."""
    assert str(tmp_path / "none") in str(error_of(tmp_path / "none"))
