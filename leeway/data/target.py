"""Reads the column that a model predicts: the task, the classes if there are any, and which is the positive one."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leeway.data.cells import MISSING_WORDS, OTHER_FORMATS, PLAIN, NumberFormat, likely_format
from leeway.data.csv_table import INTEGER, NUMBER
from leeway.schema import MAX_CLASSES, Label, Target, Task

PAIRS: Final[Mapping[frozenset[str], str]] = {
    frozenset({negative, positive}): positive
    for negative, positive in (
        *(
            ("0", "1"),
            ("false", "true"),
            ("f", "t"),
            ("no", "yes"),
            ("n", "y"),
            ("bad", "good"),
            ("1", "2"),
            ("-1", "1"),
        ),
    )
}
"""Pairs of classes, in lower case, and the positive one of each."""
MOST_INTEGER_CLASSES: Final = 20
"""A target of more different integers, or of any other numbers, is a number: a regression."""
_MOST_TEXTS: Final = 1_000
_SHOWN: Final = 5
_SURE_DIGITS: Final = 18  # an integer of so many digits fits in 64 bits


@dataclass(frozen=True)
class TargetCells:
    """What the cells of a target mean: `codes` has the place of the class for each text of a classification."""

    target: Target
    codes: Mapping[str, int] = field(default_factory=dict)
    number_format: NumberFormat = PLAIN

    def labels(self, texts: Iterable[str]) -> NDArray[Any]:
        """The label of each cell: a class, or a number."""
        if self.target.task == "regression":
            return np.array([float(self.number_format.plain(text.strip()) or "nan") for text in texts])
        return np.array(self.target.classes)[np.fromiter(map(self.codes.__getitem__, texts), dtype=np.int64)]


@dataclass
class TargetColumn:
    """The cells of a target. `unit` says what counts the places of cells: lines or rows."""

    name: str
    unit: str = "line"
    number_format: NumberFormat = PLAIN
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)

    def add(self, places: Sequence[int], texts: Sequence[str]) -> None:
        """Add consecutive cells. Of numbers 1,000 different ones are kept, so that there is room for other texts."""
        for text, count in Counter(texts).items():
            most = _MOST_TEXTS if self._is_number(text) else 2 * _MOST_TEXTS
            if text in self.counts or len(self.counts) <= most:
                self.counts[text] += count
                self.first.setdefault(text, places[texts.index(text)])

    def cells(self, positive: str | None = None, task: Task | None = None) -> TargetCells:
        """The target and what its cells mean; `positive` names the positive class unless `PAIRS` knows the two.

        Without `task` two different values are a binary target, numbers with a fraction or more than 20 of them a
        regression, and anything else is multiclass. Blanks around a text do not count, nor does the form of a number:
        1, 1.0 and +1 are one class.

        Raises:
            ValueError: a cell is empty or does not fit the task, or the classes or the positive one are not clear.
        """
        groups = _grouped(self.counts, _class_of)
        self._check_cells(groups, task)
        by_case = _grouped(self.counts, lambda text: _class_of(text).lower())
        known = PAIRS.get(frozenset(by_case)) if positive is None and task in (None, "binary") else None
        if known is not None:
            return self._classified(by_case, known)
        self._check_format(groups, task)
        chosen = task or self._task(groups)
        if chosen != "binary" and positive is not None:
            raise ValueError(f"is a target of {len(groups):,} different values; --positive needs one of two classes")
        if chosen == "regression":
            self._check_numbers(groups)
            return TargetCells(Target(self.name, "regression", (), None), {}, self.number_format)
        self._check_count(groups, chosen)
        return self._classified(groups, None if chosen == "multiclass" else _positive(groups, positive))

    def _task(self, groups: Mapping[str, list[str]]) -> Task:
        if len(groups) <= 2:  # noqa: PLR2004 (two classes)
            return "binary"
        numbers = [name for name, texts in groups.items() if self._is_number(texts[0])]
        many = len(groups) > MOST_INTEGER_CLASSES
        if 2 * len(numbers) <= len(groups) or (not many and len(numbers) < len(groups)):
            return "multiclass"
        return "regression" if many or not all(INTEGER.fullmatch(name) for name in numbers) else "multiclass"

    def _is_number(self, text: str) -> bool:
        plain = self.number_format.plain(text.strip())
        return plain is not None and math.isfinite(float(plain))

    def _classified(self, groups: Mapping[str, list[str]], positive: str | None) -> TargetCells:
        names = {group: _class_of(texts[0]) for group, texts in groups.items()}
        typed = _typed(list(names.values()))
        classes = tuple(sorted(typed.values()))
        task: Task = "binary" if positive is not None else "multiclass"
        target = Target(self.name, task, classes, None if positive is None else typed[names[positive]])
        codes = {text: classes.index(typed[names[group]]) for group, texts in groups.items() for text in texts}
        return TargetCells(target, codes)

    def _check_cells(self, groups: Mapping[str, list[str]], task: Task | None) -> None:
        """A row without a label cannot be learned from."""
        two = len(groups) <= 2 and task != "regression"  # noqa: PLR2004 (two classes)
        words = frozenset() if two else MISSING_WORDS
        missing = [text for name, texts in groups.items() if not name or name in words for text in texts]
        if missing:
            raise ValueError(f"{self._rows(missing)} no label, {self._first(missing)}; remove the rows")

    def _check_format(self, groups: Mapping[str, list[str]], task: Task | None) -> None:
        """Numbers in another format are not classes."""
        if task not in (None, "regression") or len(groups) <= 2:  # noqa: PLR2004 (two classes)
            return
        others = [text for texts in groups.values() for text in texts if not self._is_number(text)]
        likely = likely_format({text: self.counts[text] for text in others}, (PLAIN, *OTHER_FORMATS))
        if 2 * likely.cells > sum(self.counts.values()):
            written = [text for text in others if text not in likely.others]
            raise ValueError(
                f"has numbers in another format, {self._first(written)}; read the file with {likely.options} (or the"
                " target as classes with --task multiclass)"
            )

    def _check_numbers(self, groups: Mapping[str, list[str]]) -> None:
        others = [text for texts in groups.values() for text in texts if not self._is_number(text)]
        if others:
            raise ValueError(
                f"{self._rows(others)} a target that is not a number, {self._first(others)}; remove the rows, or"
                " name the task with --task multiclass"
            )
        if len(groups) == 1:
            raise ValueError(f"has only one value, {_listed(groups)}; a regression needs numbers that differ")

    def _rows(self, texts: Sequence[str]) -> str:
        count = sum(self.counts[each] for each in texts)
        return "1 row has" if count == 1 else f"{count:,} rows have"

    def _first(self, texts: Sequence[str]) -> str:
        text = min(texts, key=self.first.__getitem__)
        return f"the first {text!r} in {self.unit} {self.first[text]}"

    def _check_count(self, groups: Mapping[str, list[str]], task: Task) -> None:
        if len(groups) == 1:
            raise ValueError(f"has only one class, {_listed(groups)}; a model needs two")
        most, least = (2, 2) if task == "binary" else (MAX_CLASSES, 3)
        if not least <= len(groups) <= most:
            count = "more than 1,000" if len(self.counts) > _MOST_TEXTS else f"{len(groups):,}"
            allowed = "two" if task == "binary" else f"{least} to {most}"
            raise ValueError(f"has {count} different values ({_listed(groups)}); {task} needs {allowed} classes")


def _grouped(texts: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for text in texts:
        groups.setdefault(key(text), []).append(text)
    return groups


def _positive(groups: Mapping[str, list[str]], positive: str | None) -> str:
    if positive is None:
        raise ValueError(f"has the classes {_listed(groups)}: name the positive one, {_options(groups)}")
    if _class_of(positive) not in groups:
        raise ValueError(f"has no {positive!r}, which --positive names; its classes are {_listed(groups)}")
    return _class_of(positive)


def _typed(names: Sequence[str]) -> dict[str, Label]:
    """The classes by name: true and false, numbers if all are, else text."""
    if {name.lower() for name in names} == {"false", "true"}:
        return {name: name.lower() == "true" for name in names}
    if all(INTEGER.fullmatch(name) and len(name) <= _SURE_DIGITS for name in names):
        return {name: int(name) for name in names}
    if all(NUMBER.fullmatch(name) and math.isfinite(float(name)) for name in names):
        return {name: float(name) for name in names}
    return {name: name for name in names}


def _class_of(text: str) -> str:
    """The text without blanks around it, a whole number in its plain form."""
    stripped = text.strip()
    if not NUMBER.fullmatch(stripped):
        return stripped
    number = float(stripped)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else stripped


def _listed(groups: Mapping[str, list[str]]) -> str:
    names = [repr(name) for name in sorted(groups)]
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _options(groups: Mapping[str, list[str]]) -> str:
    return " or ".join(f"--positive {shlex.quote(name)}" for name in sorted(groups))
