from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeway.data.tabular import TableError, infer_schema, read_table
from tests.leeway.data.tabular.files import of_csv, of_parquet


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read as a table"),
        ("\n\n", "cannot be read as a table"),
        ("a,y\n", "holds no rows"),
        ("a,b\n1,2\n", r"no column 'y'; there are: a, b"),
        ("a;y\n1;0\n", r"no column 'y'; there are: a;y"),
        ("y\n0\n1\n", "no column is left"),
        ("a,y\n1,2\n2,0\n", r"target 'y' must be 0 or 1, true or false, yes or no; found '2'"),
        ("a,y\n1,\n2,0\n3,1\n", "found a missing value"),
        ("a,y\n1,1\n2,1\n", "one class only"),
        ("a,a,y\n1,2,0\n3,4,1\n", "column 'a' is there twice"),
        (",a,y\n0,1,0\n1,2,1\n", "column 1 has no name"),
        ("a,b,y\n1,,0\n2,,1\n", "column 'b' is empty"),
        ("a,y\n1,0,7\n2,1,8\n", "more fields than the header"),
        ("a,y\n1,0\n2,1,3,4\n", "Expected 2 fields in line 3, saw 4"),
        ("_score,y\n1,0\n2,1\n", "'_score' is reserved"),
        ("_label,y\n1,0\n2,1\n", "'_label' is reserved"),
        ("a:b,y\n1,0\n2,1\n", r"feature name 'a:b': use a letter"),
        ("2nd,y\n1,0\n2,1\n", r"feature name '2nd'"),
        ("d,y\n2024-01-01,0\n2024-01-02,1\n", "column 'd' holds dates"),
        ("d,y\n2024-01-01T10:00:00,0\n,1\n", "column 'd' holds dates"),
        ("d,y\n31/12/2024,0\n1/2/2025,1\n", "column 'd' holds dates"),
        ("a,y\ninf,0\n2,1\n", "column 'a' holds an infinite number"),
        ("a,y\n99999999999999999999999,0\n2,1\n", "column 'a' holds whole numbers beyond 64 bits"),
        ("a,y\n9223372036854775808,0\n2,1\n", "column 'a' holds whole numbers beyond 64 bits"),
        (f"a,y\n{'x' * 201},0\nz,1\n", "1 to 200 characters"),
        ("a,y\nx\a,0\nz,1\n", "control characters"),
        (b"a,y\n\xff\xfe,0\nz,1\n", "cannot be read as a table"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "cannot be read as a table"),
    ],
)
def test_refuses_in_plain_words(tmp_path: Path, text: str | bytes, reason: str) -> None:
    """What cannot be trained on is refused in one line that names the column and the reason."""
    with pytest.raises(TableError, match=reason) as caught:
        of_csv(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_refuses_text_of_too_many_values(tmp_path: Path) -> None:
    """A text column with a value for nearly each row is refused, with the ways out."""
    rows = "".join(f"text {each},{each % 2}\n" for each in range(101))
    with pytest.raises(TableError, match=r"'a' is text with 101 different values, over 100: .*--id"):
        of_csv(tmp_path, "a,y\n" + rows)


def test_takes_text_of_a_hundred_values(tmp_path: Path) -> None:
    """A hundred different values are not too many."""
    rows = "".join(f"text {each},{each % 2}\n" for each in range(100))
    assert of_csv(tmp_path, "a,y\n" + rows).schema["a"].kind == "category"


@pytest.mark.parametrize(
    "values",
    [
        pd.date_range("2024", periods=4),
        pd.date_range("2024", periods=4, tz="UTC"),
        pd.to_timedelta([1, 2, 3, 4]),
        [dt.date(2024, 1, 1)] * 4,
        [decimal.Decimal("1.5")] * 4,
        [[1], [2], [3], [4]],
        [{"b": 1}] * 4,
        [b"x"] * 4,
    ],
)
def test_refuses_types_that_are_no_feature(tmp_path: Path, values: object) -> None:
    """Times, decimals, lists and the like are refused by the column's name, with what to do."""
    with pytest.raises(TableError, match=r"column 'a' is of type .*turn it to numbers or drop it"):
        of_parquet(tmp_path, values)


def test_refuses_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    """A file that only bears the name of Parquet is refused in one line."""
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(TableError, match="cannot be read as a table"):
        read_table(tmp_path / "x.parquet", target="y")


def test_refuses_a_parquet_column_twice(tmp_path: Path) -> None:
    """A Parquet file with two columns of one name is refused by the name."""
    pq.write_table(pa.table([[1, 2], [3, 4], [0, 1]], names=["a", "a", "y"]), tmp_path / "x.parquet")
    with pytest.raises(TableError, match="column 'a' is there twice"):
        read_table(tmp_path / "x.parquet", target="y")


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere.parquet", "."])
def test_refuses_what_is_no_file(tmp_path: Path, name: str) -> None:
    """No file, or a folder, is refused in one line."""
    with pytest.raises(TableError, match="cannot be read as a table"):
        read_table(tmp_path / name, target="y")


def test_refuses_an_id_that_is_the_target(tmp_path: Path) -> None:
    """One column cannot both name the row and be predicted."""
    with pytest.raises(TableError, match="cannot be both"):
        of_csv(tmp_path, "a,y\n1,0\n2,1\n", id_column="y")


def test_refuses_an_id_that_is_not_there(tmp_path: Path) -> None:
    """An id column that the file lacks is said."""
    with pytest.raises(TableError, match="no column 'who'"):
        of_csv(tmp_path, "a,y\n1,0\n2,1\n", id_column="who")


def test_refuses_a_frames_column_twice() -> None:
    """A frame with two columns of one name has no schema."""
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(TableError, match="column 'a' is there twice"):
        infer_schema(frame)
