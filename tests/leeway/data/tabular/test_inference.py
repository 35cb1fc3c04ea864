from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leeway.data.tabular import infer_schema, read_table
from tests.leeway.data.tabular.files import TARGET, of_csv, of_parquet

KINDS = {
    "bool": ("True,False,True,False", "flag", False),
    "bool with gaps": ("True,,False,True", "flag", True),
    "int": ("1,2,3,-4", "integer", False),
    "int with gaps": ("1,,3,4", "integer", True),
    "zero or one": ("0,1,0,1", "integer", False),
    "64 bits": ("9223372036854775807,1,2,3", "integer", False),
    "float": ("1.5,2,3,4", "number", False),
    "float with gaps": ("1.5,,3,4", "number", True),
    "whole floats": ("1.0,2.0,3.0,4.0", "number", False),
    "whole floats with gaps": ("1.0,,3.0,4.0", "number", True),
    "text": ("a,b,a,ü", "category", False),
    "text with gaps": ("a,,a,b", "category", True),
    "yes and no": ("yes,no,yes,no", "category", False),
    "mixed": ("1,2,x,4", "category", False),
}


@pytest.mark.parametrize("case", KINDS)
def test_infers_kinds_from_csv(tmp_path: Path, case: str) -> None:
    """A column's kind follows from its values, and it may be missing where a value is."""
    values, kind, nullable = KINDS[case]
    rows = "\n".join(f"{value},{label}" for value, label in zip(values.split(","), TARGET, strict=True))
    (feature,) = of_csv(tmp_path, f"a,y\n{rows}\n").schema
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
        (pd.Categorical(["a", "b", "a", "a"]), "category", False),
    ],
)
def test_infers_kinds_from_parquet(tmp_path: Path, values: object, kind: str, nullable: bool) -> None:  # noqa: FBT001 (an expectation)
    """A Parquet column's kind follows from its type, whatever its width."""
    (feature,) = of_parquet(tmp_path, values).schema
    assert (feature.kind, feature.nullable) == (kind, nullable)


def test_infers_integers_from_pandas_gaps() -> None:
    """Whole numbers that pandas made floats, for the gaps between them, are integers."""
    assert infer_schema(pd.DataFrame({"a": [1.0, None, 3.0]}))["a"].kind == "integer"


def test_limits_are_those_of_the_kind(tmp_path: Path) -> None:
    """An inferred feature has no limits beyond its kind's: what was not seen is still valid."""
    schema = of_csv(tmp_path, "a,y\n1,0\n2,1\n").schema
    assert schema.problems({"a": -(2**63)}) == {}


def test_values_arrive_typed(tmp_path: Path) -> None:
    """The frame holds each feature in its type, gaps kept, and the labels beside it."""
    table = of_csv(tmp_path, "a,b,c,y\n1,True,x,0\n,,,1\n")
    assert {name: str(dtype) for name, dtype in table.frame.dtypes.items()} == {
        "a": "Int64",
        "b": "boolean",
        "c": "object",
    }
    assert table.frame.isna().to_numpy().tolist() == [[False] * 3, [True] * 3]
    assert table.labels.tolist() == [0, 1]


def test_id_and_target_are_no_features(tmp_path: Path) -> None:
    """Every column is a feature but the target and the id, in the file's order."""
    rows = "".join(f"id{each},{each},{each % 2},x\n" for each in range(300))
    table = of_csv(tmp_path, "who,a,y,b\n" + rows, id_column="who")
    assert table.schema.names == ("a", "b")


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["yes", "no"], [1, 0]),
        (["Yes", "NO"], [1, 0]),
        (["true", "false"], [1, 0]),
        (["True", "False"], [1, 0]),
        (["1", "0"], [1, 0]),
        (["1.0", "0.0"], [1, 0]),
        (["1.0", "no"], [1, 0]),
        ([" yes", "no "], [1, 0]),
    ],
)
def test_target_may_be_spelled(tmp_path: Path, texts: list[str], labels: list[int]) -> None:
    """The target is 0 or 1, true or false, yes or no, in any letter case."""
    rows = "".join(f"{each},{text}\n" for each, text in enumerate(texts))
    assert of_csv(tmp_path, "a,y\n" + rows).labels.tolist() == labels


@pytest.mark.parametrize("values", [[True, False, True, False], [1.0, 0.0, 1.0, 0.0], ["yes", "no", "yes", "no"]])
def test_target_may_be_typed(tmp_path: Path, values: list[Any]) -> None:
    """A Parquet target of flags, floats or text is read like one of integers."""
    pd.DataFrame({"a": [1, 2, 3, 4], "y": values}).to_parquet(tmp_path / "data.parquet")
    assert read_table(tmp_path / "data.parquet", target="y").labels.tolist() == [1, 0, 1, 0]


def test_reads_packed_files(tmp_path: Path) -> None:
    """A packed CSV is read as it is."""
    pd.DataFrame({"a": [1, 2], "y": [0, 1]}).to_csv(tmp_path / "data.csv.gz", index=False)
    assert read_table(tmp_path / "data.csv.gz", target="y").schema.names == ("a",)
