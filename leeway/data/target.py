"""Reads the column that a model predicts: two classes, and which of them is the positive one."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from leeway.data.cells import MISSING_WORDS
from leeway.data.csv_table import NUMBER

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
_MOST_CLASSES: Final = 1_000
_SHOWN: Final = 5


@dataclass(frozen=True)
class Classes:
    """The two classes as the file writes them, without blanks around, their rows, and the label of each cell's text."""

    negative: str = "0"
    positive: str = "1"
    rows: tuple[int, int] = (0, 0)
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass
class TargetColumn:
    """The cells of a target. `unit` says what counts the places of cells: lines or rows."""

    name: str
    unit: str = "line"
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, int] = field(default_factory=dict)

    def add(self, places: Sequence[int], texts: Sequence[str]) -> None:
        """Add consecutive cells."""
        for text, count in Counter(texts).items():
            if text in self.counts or len(self.counts) <= _MOST_CLASSES:
                self.counts[text] += count
                self.first.setdefault(text, places[texts.index(text)])

    def classes(self, positive: str | None = None) -> Classes:
        """The two classes; `positive` names the positive one, and need not where `PAIRS` knows the two.

        Blanks around a text do not count, nor does the form of a number: 1, 1.0 and +1 are one class.

        Raises:
            ValueError: a cell is empty, there are not two classes, or the positive one is unknown.
        """
        groups: dict[str, list[str]] = {}
        for text in self.counts:
            groups.setdefault(_class_of(text), []).append(text)
        self._check_cells(groups)
        by_case: dict[str, list[str]] = {}
        for name, texts in groups.items():
            by_case.setdefault(name.lower(), []).extend(texts)
        if positive is None and (known := PAIRS.get(frozenset(by_case))):
            return self._made(by_case, known)
        self._check_count(groups)
        if positive is None:
            raise ValueError(f"has the classes {_listed(groups)}: name the positive one, {_options(groups)}")
        if _class_of(positive) not in groups:
            raise ValueError(f"has no {positive!r}, which --positive names; its classes are {_listed(groups)}")
        return self._made(groups, _class_of(positive))

    def _made(self, groups: Mapping[str, list[str]], positive: str) -> Classes:
        (negative,) = groups.keys() - {positive}
        names = [_class_of(groups[each][0]) for each in (negative, positive)]
        rows = tuple(sum(self.counts[text] for text in groups[each]) for each in (negative, positive))
        labels = {text: int(each == positive) for each, texts in groups.items() for text in texts}
        return Classes(names[0], names[1], (rows[0], rows[1]), labels)

    def _check_cells(self, groups: Mapping[str, list[str]]) -> None:
        """A row without a label cannot be learned from."""
        words = MISSING_WORDS if len(groups) > 2 else frozenset()  # noqa: PLR2004 (two classes)
        missing = [text for name, texts in groups.items() if not name or name in words for text in texts]
        if missing:
            text = min(missing, key=self.first.__getitem__)
            count = sum(self.counts[each] for each in missing)
            rows = "1 row has" if count == 1 else f"{count:,} rows have"
            raise ValueError(f"{rows} no label, the first {text!r} in {self.unit} {self.first[text]}; remove the rows")

    def _check_count(self, groups: Mapping[str, list[str]]) -> None:
        if len(groups) == 1:
            raise ValueError(f"has only one class, {_listed(groups)}; a model needs two")
        if len(groups) > 2:  # noqa: PLR2004 (two classes)
            more = "more than 1,000" if len(self.counts) > _MOST_CLASSES else f"{len(groups):,}"
            raise ValueError(f"has {more} different values ({_listed(groups)}); a model needs two classes")


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
