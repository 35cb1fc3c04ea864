from __future__ import annotations

import datetime as dt
import decimal
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeway.data.csv_table import TableError
from leeway.data.tabular import ReadOptions, TrainingData, infer_schema, read_table, typed_frame
from leeway.schema import Feature, FeatureSchema, Kind, Target

TARGET = [0, 1, 0, 1]


def read_text(folder: Path, text: str | bytes, options: ReadOptions | None = None) -> TrainingData:
    """Read a CSV file of this text with target y."""
    (folder / "data.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(folder / "data.csv", target="y", options=options)


def read_values(folder: Path, values: object) -> TrainingData:
    """Read a Parquet file with a column `a` of these values and a target y."""
    pd.DataFrame({"a": values, "y": TARGET}).to_parquet(folder / "data.parquet", index=False)
    return read_table(folder / "data.parquet", target="y")


KINDS = {
    "bool": ("True,False,TRUE,false", "flag", False),
    "bool with gaps": ("True,,False,True", "flag", True),
    "int": ("1,2,3,-4", "integer", False),
    "int with gaps": ("1,,3,4", "integer", True),
    "int with spaces": (" 1,2 ,3,4", "integer", False),
    "zero or one": ("0,1,0,1", "integer", False),
    "64 bits": ("9223372036854775807,1,2,3", "integer", False),
    "float": ("1.5,2,3,4", "number", False),
    "float with gaps": ("1.5,,3,4", "number", True),
    "float beyond 64 bits": ("1.5,99999999999999999999,3,4", "number", False),
    "whole floats": ("1.0,2.0,3.0,4.0", "number", False),
    "integers with gaps, as pandas writes them": ("1.0,,3.0,4.0", "integer", True),
    "words for missing numbers": ("1.5,NaN,#N/A,NULL", "number", True),
    "blanks for missing numbers": ("1.5, ,  ,2", "number", True),
    "words for missing flags": ("TRUE,NA,FALSE,NA", "flag", True),
    "text": ("a,b,a,ü", "category", False),
    "text with gaps": ("a,,a,b", "category", True),
    "words in text": ("a,None,NA,b", "category", False),
    "yes and no": ("yes,no,yes,no", "category", False),
    "mostly text": ("1,w,x,y", "category", False),
    "flags and numbers": ("True,1,True,1", "category", False),
    "no-break space": ("a\xa0b,a,a,b", "category", False),
}


@pytest.mark.parametrize("case", KINDS)
def test_infers_kinds_from_csv(tmp_path: Path, case: str) -> None:
    """A column's kind follows from its texts; it is nullable if one is missing."""
    values, kind, nullable = KINDS[case]
    rows = "\n".join(f"{value},{label}" for value, label in zip(values.split(","), TARGET, strict=True))
    (feature,) = read_text(tmp_path, f"a,y\n{rows}\n").schema
    assert (feature.name, feature.kind, feature.nullable) == ("a", kind, nullable)


@pytest.mark.parametrize(
    ("values", "kind", "nullable"),
    [
        ([True, False, True, False], "flag", False),
        ([True, None, False, True], "flag", True),
        ([1, 2, 3, 4], "integer", False),
        (pd.array([1, 2, 3, 4], dtype="uint8"), "integer", False),
        (pd.array([1, None, 3, 4], dtype="Int64"), "integer", True),
        ([1.5, 2, 3, 4], "number", False),
        (pd.array([1.5, 2, 3, 4], dtype="float32"), "number", False),
        (["a", "b", "a", None], "category", True),
        (["a", "b", "", "a"], "category", True),
        (["a\xa0b", "a", "a", "a"], "category", False),
        (pd.Categorical(["a", "b", "a", "a"]), "category", False),
    ],
)
def test_infers_kinds_from_parquet(tmp_path: Path, values: object, kind: str, nullable: bool) -> None:  # noqa: FBT001 (an expectation)
    """A column's kind follows from its type, whatever its width."""
    (feature,) = read_values(tmp_path, values).schema
    assert (feature.kind, feature.nullable) == (kind, nullable)


def test_infers_integers_from_pandas_gaps() -> None:
    """Whole numbers that pandas stored as floats because of gaps are integers."""
    assert infer_schema(pd.DataFrame({"a": [1.0, None, 3.0]}))["a"].kind == "integer"


def test_an_inferred_feature_has_no_limits(tmp_path: Path) -> None:
    """Only its kind restricts it: a value that is not in the file is valid."""
    schema = read_text(tmp_path, "a,y\n1,0\n2,1\n").schema
    assert schema.problems({"a": -(2**63)}) == {}


def test_values_are_typed(tmp_path: Path) -> None:
    """The frame holds each feature in its type, with gaps, and the labels are next to it."""
    table = read_text(tmp_path, "a,b,c,y\n1,True,x,0\n,,,1\n")
    assert {name: str(dtype) for name, dtype in table.frame.dtypes.items()} == {
        "a": "Int64",
        "b": "boolean",
        "c": "object",
    }
    assert table.frame.isna().to_numpy().tolist() == [[False] * 3, [True] * 3]
    assert table.labels.tolist() == [0, 1]


def test_id_and_target_are_not_features(tmp_path: Path) -> None:
    """Every other column is a feature, in the file's order."""
    rows = "".join(f"id{each},{each},{each % 2},x\n" for each in range(300))
    table = read_text(tmp_path, "who,a,y,b\n" + rows, ReadOptions(excluded=("who",)))
    assert table.schema.names == ("a", "b")


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["yes", "no"], ["yes", "no"]),
        (["Yes", "NO"], ["Yes", "NO"]),
        (["true", "false"], [True, False]),
        (["True", "False"], [True, False]),
        (["1", "0"], [1, 0]),
        (["1.0", "0.0"], [1, 0]),
        (["1.00", "0e0"], [1, 0]),
        ([" yes", "no "], ["yes", "no"]),
        (["Y", "n"], ["Y", "n"]),
        (["T", "F"], ["T", "F"]),
        (["good", "bad"], ["good", "bad"]),
        (["2", "1"], [2, 1]),
        (["1", "-1"], [1, -1]),
        (["+1", "-1.0"], [1, -1]),
    ],
)
def test_a_target_may_be_text(tmp_path: Path, texts: list[str], labels: list[Any]) -> None:
    """The target is one of the known pairs, in any letter case, with blanks around, in any form of a number."""
    rows = "".join(f"{each},{text}\n" for each, text in enumerate(texts))
    table = read_text(tmp_path, "a,y\n" + rows)
    assert table.labels.tolist() == labels
    assert table.schema.target == Target("y", "binary", tuple(sorted(labels)), labels[0])


@pytest.mark.parametrize("values", [[True, False, True, False], [1.0, 0.0, 1.0, 0.0], ["yes", "no", "yes", "no"]])
def test_a_target_may_be_typed(tmp_path: Path, values: list[Any]) -> None:
    """A Parquet target of flags, floats or text is read like one of integers."""
    pd.DataFrame({"a": [1, 2, 3, 4], "y": values}).to_parquet(tmp_path / "data.parquet")
    table = read_table(tmp_path / "data.parquet", target="y")
    assert table.labels.tolist() == values


@pytest.mark.parametrize("name", ["data.csv.gz", "data.csv.bz2", "data.csv.xz"])
def test_packed_files_are_read(tmp_path: Path, name: str) -> None:
    """A CSV file may be packed."""
    pd.DataFrame({"a": [1, 2], "y": [0, 1]}).to_csv(tmp_path / name, index=False)
    assert read_table(tmp_path / name, target="y").schema.names == ("a",)


def test_blank_lines_and_an_open_end_are_accepted(tmp_path: Path) -> None:
    """A file for training may have been edited by hand."""
    assert read_text(tmp_path, "a,y\n1,0\n\n2,1\n\n3,1").labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "data.csv, line 1: has no header"),
        ("\n\n", "data.csv, line 1: has no header"),
        ("a,y\n", "data.csv, line 1: has a header but no rows"),
        ("a,b\n1,2\n", "line 1: missing column 'y'; the file has a, b"),
        ("y\n0\n1\n", "no column is left"),
        ("a,y\n1,2\n2,0\n", "column y: has the classes '0', '2': name the positive one, --positive 0 or --positive 2"),
        ("a,y\n1,stayed\n2,left\n", "name the positive one, --positive left or --positive stayed"),
        ("a,y\n1,0\n2,\n3,1\n", "column y: 1 row has no label, the first '' in line 3; remove the rows"),
        ("a,y\n1,0\n2,NA\n3,1\n", "column y: 1 row has no label, the first 'NA' in line 3; remove the rows"),
        ("a,y\n1,1\n2,1\n", "column y: has only one class, '1'"),
        ("a,a,y\n1,2,0\n3,4,1\n", "line 1: duplicate column 'a'"),
        (",,y\n0,1,0\n1,2,1\n", "no column is left"),
        ("a,b,y\n1,,0\n2,,1\n", "column b: has no values"),
        ("a,y\n1,0,7\n2,1,8\n", "line 2: has 3 of 2 fields"),
        ("a,y\n1,0\n2\n", "line 3: has 1 of 2 fields"),
        ("_score,y\n1,0\n2,1\n", "'_score' is reserved"),
        ("_label,y\n1,0\n2,1\n", "'_label' is reserved"),
        ("a:b,y\n1,0\n2,1\n", "column a:b: feature name 'a:b'"),
        ("2nd,y\n1,0\n2,1\n", "feature name '2nd'"),
        ("d,y\n2024-01-01,0\n2024-01-02,1\n", "column d: has dates"),
        ("d,y\n2024-01-01T10:00:00,0\n,1\n", "column d: has dates"),
        ("d,y\n31/12/2024,0\n1/2/2025,1\n", "column d: has dates"),
        (
            "d,y\n2020/01/31,0\n2020/02/01,1\n",
            "the first '2020/01/31' in line 2, which are not a feature; derive",
        ),
        ("d,y\n12-Jan-2020,0\n13-Feb-2020,1\n", "column d: has dates"),
        ("d,y\n12 January 2020,0\n,1\n", "column d: has dates"),
        ('d,y\n"Jan 12, 2020",0\n"Feb 3, 2020",1\n', "column d: has dates"),
        ("d,y\n31.12.2019 23:59,0\nunknown,1\n31.1.2020 0:00,0\n", "column d: has dates"),
        ("a,y\ninf,0\n2,1\n", "column a: has an infinite number, the first 'inf' in line 2"),
        ("a,y\n1e999,0\n2,1\n", "column a: has an infinite number, the first '1e999' in line 2"),
        ("a,y\n99999999999999999999999,0\n2,1\n", "column a: has integers beyond 64 bits"),
        ("a,y\n9223372036854775808,0\n2,1\n", "column a: has integers beyond 64 bits"),
        (f"a,y\n{'x' * 201},0\nz,1\n", "line 2, column a: 'x.*1 to 200 characters"),
        ("a,y\nz,0\nx\a,1\n", r"line 3, column a: 'x\\x07' must not contain control characters"),
        (b"a,y\n\xff\xfe,0\nz,1\n", "line 2: is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "line 1: is not UTF-8"),
    ],
)
def test_an_unusable_file_is_rejected(tmp_path: Path, text: str | bytes, reason: str) -> None:
    """The error is one line with the place and the reason."""
    with pytest.raises(TableError, match=reason) as caught:
        read_text(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [100, 101])
def test_text_may_have_a_hundred_values(tmp_path: Path, count: int) -> None:
    """Text with more different values is rejected, with what to do about it."""
    rows = "".join(f"text {each},{each % 2}\n" for each in range(count))
    if count == 100:
        assert read_text(tmp_path, "a,y\n" + rows).schema["a"].kind == "category"
    else:
        with pytest.raises(TableError, match=r"column a: is text with more than 100 different values; .*--id"):
            read_text(tmp_path, "a,y\n" + rows)


@pytest.mark.parametrize(
    ("values", "name", "hint"),
    [
        (pd.date_range("2024", periods=4), "timestamp[", "derive numbers from it first, such as an age"),
        (pd.date_range("2024", periods=4, tz="UTC"), "timestamp[", "derive"),
        (pd.to_timedelta([1, 2, 3, 4]), "duration[", "derive"),
        ([dt.date(2024, 1, 1)] * 4, "date32[day]", "derive"),
        (
            [decimal.Decimal("1.5")] * 4,
            "decimal128(2, 1)",
            "convert it to a number or text, or leave it out with --drop",
        ),
        ([[1], [2], [3], [4]], "list<", "convert"),
        ([{"b": 1}] * 4, "struct<b: int64>", "convert"),
        ([b"x"] * 4, "binary", "convert"),
    ],
)
def test_an_unsupported_type_is_rejected(tmp_path: Path, values: object, name: str, hint: str) -> None:
    """Times, decimals, lists and the like are rejected with their Parquet type and what to do."""
    with pytest.raises(
        TableError, match=rf"column a: has the Parquet type {re.escape(name)}.*, which is not a feature; {hint}"
    ):
        read_values(tmp_path, values)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (["x\a", "a", "a", "a"], "'x.x07' must not contain control characters"),
        (["x" * 201, "a", "a", "a"], "'x.*' must be 1 to 200 characters long"),
        ([f"text {each}" for each in range(4)], None),
        ([float("inf"), 1.0, 2.0, 3.0], "has an infinite number"),
        (pd.array([2**63, 1, 2, 3], dtype="uint64"), "has integers beyond 64 bits"),
        ([None] * 4, "has no values"),
        (["2024-01-01"] * 4, "has dates"),
    ],
)
def test_parquet_values_follow_the_same_rules(tmp_path: Path, values: object, reason: str | None) -> None:
    """A value that a CSV file must not have is rejected in a Parquet file too."""
    if reason is None:
        assert read_values(tmp_path, values).schema["a"].kind == "category"
    else:
        with pytest.raises(TableError, match=rf"data.parquet,( row 1,)? column a: {reason}"):
            read_values(tmp_path, values)


def test_a_faulty_parquet_target_is_rejected(tmp_path: Path) -> None:
    """The error names the column and the value."""
    pd.DataFrame({"a": [1, 2], "y": ["no", None]}).to_parquet(tmp_path / "data.parquet")
    with pytest.raises(TableError, match=r"data\.parquet, column y: 1 row has no label, the first '' in row 2"):
        read_table(tmp_path / "data.parquet", target="y")


def test_a_damaged_parquet_file_is_rejected(tmp_path: Path) -> None:
    """A file that is Parquet by name only is rejected in one line."""
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(TableError, match=r"x\.parquet: cannot be read: ") as caught:
        read_table(tmp_path / "x.parquet", target="y")
    assert "\n" not in str(caught.value)


def test_a_damaged_packed_file_is_rejected(tmp_path: Path) -> None:
    """A packed file that was cut off is rejected."""
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a,y\n1,0\n2,1\n" * 100)[:-20])
    with pytest.raises(TableError, match=r"x\.csv\.gz: cannot be read: "):
        read_table(tmp_path / "x.csv.gz", target="y")


def test_a_duplicate_parquet_column_is_rejected(tmp_path: Path) -> None:
    """The error names the column."""
    pq.write_table(pa.table([[1, 2], [3, 4], [0, 1]], names=["a", "a", "y"]), tmp_path / "x.parquet")
    with pytest.raises(TableError, match="duplicate column 'a'"):
        read_table(tmp_path / "x.parquet", target="y")


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere.parquet", "."])
def test_a_missing_file_is_rejected(tmp_path: Path, name: str) -> None:
    """A missing file or a folder is rejected."""
    with pytest.raises(TableError, match="cannot be read: "):
        read_table(tmp_path / name, target="y")


@pytest.mark.parametrize(
    ("excluded", "reason"), [("y", "cannot be both the target and left out"), ("who", "missing column 'who'")]
)
def test_the_id_must_be_another_column(tmp_path: Path, excluded: str, reason: str) -> None:
    """The id column exists and is not the target."""
    with pytest.raises(TableError, match=reason):
        read_text(tmp_path, "a,y\n1,0\n2,1\n", ReadOptions(excluded=(excluded,)))


def test_a_frame_with_a_duplicate_column_has_no_schema() -> None:
    """The error names the column."""
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(TableError, match="duplicate column 'a'"):
        infer_schema(frame)


def typed(kind: Kind, values: list[Any]) -> pd.Series[Any]:
    """One column of a typed frame."""
    return typed_frame(FeatureSchema((Feature("a", kind),)), {"a": values})["a"]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, np.nan])
@pytest.mark.parametrize(
    ("kind", "value", "dtype"),
    [
        ("number", 1.5, "float64"),
        ("integer", 2**53 + 1, "Int64"),
        ("flag", True, "boolean"),
        ("category", "x", "object"),
    ],
)
def test_missing_values_stay_missing(kind: Kind, value: object, dtype: str, missing: object) -> None:
    """Each kind has its type and keeps values exactly, missing ones too."""
    column = typed(kind, [value, missing])
    assert (str(column.dtype), column[0], bool(pd.isna(column[1]))) == (dtype, value, True)


@pytest.mark.parametrize("kind", ["number", "integer", "flag", "category"])
def test_a_column_without_values_is_typed(kind: Kind) -> None:
    """Its type is that of its kind."""
    assert typed(kind, [None, None]).isna().all()
    assert typed(kind, [None, None]).dtype == typed(kind, []).dtype


@pytest.mark.parametrize(("value", "text"), [("x", "x"), (5, "5"), ("", None), ("None", "None")])
def test_categories_are_text(value: object, text: str | None) -> None:
    """Any value becomes text; empty text is missing."""
    assert typed("category", [value]).tolist() == [text]


def test_whole_floats_become_integers() -> None:
    """An integer column may hold 40.0."""
    assert typed("integer", [40.0, None]).tolist() == [40, pd.NA]


@pytest.mark.parametrize(("kind", "value"), [("number", "x"), ("integer", 1.5), ("integer", 2**70), ("flag", "yes")])
def test_a_value_of_another_kind_is_rejected(kind: Kind, value: object) -> None:
    """It is an error, not a silent conversion."""
    with pytest.raises((TypeError, ValueError, OverflowError)):
        typed(kind, [value])


def test_a_frame_has_the_schemas_columns() -> None:
    """They are in the schema's order; others are dropped; a missing one is a KeyError that names it."""
    schema = FeatureSchema((Feature("b", "number"), Feature("a", "flag")))
    frame = typed_frame(schema, {"a": [True], "x": [1], "b": [1.0]})
    assert list(frame.columns) == ["b", "a"]
    with pytest.raises(KeyError, match="'a'"):
        typed_frame(schema, {"b": [1.0]})
