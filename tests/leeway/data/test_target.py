"""Which task a target's cells stand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from leeway.data.cells import NumberFormat
from leeway.data.target import TargetCells, TargetColumn
from leeway.schema import Label, Target, Task


def read(texts: Sequence[str], positive: str | None = None, task: Task | None = None) -> TargetCells:
    """The meaning of these cells of a column y."""
    column = TargetColumn("y")
    column.add(range(2, len(texts) + 2), texts)
    return column.cells(positive, task)


@pytest.mark.parametrize(
    ("texts", "task", "classes"),
    [
        (["left", "stayed"], "binary", ("left", "stayed")),
        (["b", "a", "c", "a"], "multiclass", ("a", "b", "c")),
        ([" b", "a", "c ", "b"], "multiclass", ("a", "b", "c")),
        (["2", "0", "1.0", "+1"], "multiclass", (0, 1, 2)),
        ([str(each) for each in range(20)], "multiclass", tuple(range(20))),
        ([str(each) for each in range(21)], "regression", ()),
        (["1.5", "2", "3"], "regression", ()),
        (["1e3", "2", "3"], "multiclass", (2, 3, 1_000)),
        (["low", "1", "2"], "multiclass", ("1", "2", "low")),
    ],
)
def test_the_task_follows_from_the_values(texts: list[str], task: Task, classes: tuple[Label, ...]) -> None:
    """Two values are binary; texts and up to 20 whole numbers are classes; any other numbers are numbers."""
    target = read(texts, "left" if "left" in texts else None).target
    assert (target.task, target.classes) == (task, classes)


def test_a_class_is_a_class_of_the_target() -> None:
    """The labels are the classes as the target has them, whatever the cells look like."""
    found = read(["2.0", " 1", "0", "+1"])
    assert found.labels(["+1", "2.0", "0"]).tolist() == [1, 2, 0]


def test_numbers_may_have_another_format() -> None:
    """With decimal commas and thousands separators the labels are the numbers that people read."""
    column = TargetColumn("y", number_format=NumberFormat(",", "."))
    column.add(range(3), ["1.234,5", "-2", " 0,25"])
    found = column.cells()
    assert found.target == Target("y", "regression", (), None)
    np.testing.assert_array_equal(found.labels(["1.234,5", "-2", " 0,25"]), [1234.5, -2.0, 0.25])


@pytest.mark.parametrize(
    ("texts", "task", "expected"),
    [
        (["0", "1"], "regression", Target("y", "regression", (), None)),
        ([str(each) for each in range(50)], "multiclass", Target("y", "multiclass", tuple(range(50)), None)),
        (["1.5", "2.5", "3.5"], "multiclass", Target("y", "multiclass", (1.5, 2.5, 3.5), None)),
    ],
)
def test_the_task_may_be_given(texts: list[str], task: Task, expected: Target) -> None:
    """What the values look like does not matter if the task is named."""
    assert read(texts, task=task).target == expected


@pytest.mark.parametrize(
    ("texts", "positive", "task", "reason"),
    [
        (["1.5", "2.5", "?"] * 9 + [str(each) for each in range(30)], None, None, "9 rows have a target that is not a"),
        (
            ["1,5", "2,5", "3,5", "1,5"],
            None,
            None,
            "numbers in another format, the first '1,5' in line 2; read the file with --decimal ,",
        ),
        (["1.234.567", "2.345.678", "3"], None, None, "read the file with --decimal , --thousands ."),
        (["a", "", "b", ""], None, None, "2 rows have no label, the first '' in line 3"),
        (["1.5", "NA", "2.5"], None, None, "1 row has no label, the first 'NA' in line 3"),
        (["a", "b", "c"], None, "binary", "has 3 different values ('a', 'b', 'c'); binary needs two classes"),
        (["a", "b"], None, "multiclass", "multiclass needs 3 to 100 classes"),
        ([f"t{each}" for each in range(101)], None, None, "multiclass needs 3 to 100 classes"),
        (["a", "b", "c"], "a", None, "--positive needs one of two classes"),
        (["left", "stayed"], None, None, "name the positive one, --positive left or --positive stayed"),
        (["left", "stayed"], "gone", None, "has no 'gone', which --positive names"),
        (["7", "7"], None, None, "has only one class"),
        (["7", "7.0"], None, "regression", "has only one value"),
    ],
)
def test_an_unclear_target_is_rejected(texts: list[str], positive: str | None, task: Task | None, reason: str) -> None:
    """The message says which cells are at fault, or what to name."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the reason is compared)
        read(texts, positive, task)
    assert reason in str(error.value)
