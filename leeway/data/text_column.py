"""Infers which feature a column of text cells is, in a CSV or a Parquet file, and says which cells it cannot read."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from leeway.data.cells import (
    MISSING_WORDS,
    NUMBER_LOOKS,
    OTHER_FORMATS,
    PLAIN,
    Look,
    NumberFormat,
    likely_format,
    look_of,
    sign_of,
)
from leeway.data.csv_table import CellReader, feature_reader
from leeway.schema import Feature, Kind, Value

MAX_CATEGORIES: Final = 100
MAX_GROUPED: Final = 5_000
"""Different texts of a category whose rare ones are grouped."""
DATE_HINT: Final = "derive numbers from it first, such as an age, the month or the weekday, or leave it out with --drop"
BEYOND_64_BITS: Final = "has integers beyond 64 bits; name it with --id if it identifies a row, or use --drop"
EMPTY: Final = "has no values; leave it out with --drop"

_OTHER_LOOKS: Final[tuple[Look, ...]] = ("flag", "date", "text")
_MOST_TEXTS: Final = MAX_GROUPED + 1
_SHOWN: Final = 3
_NUMBERS_PER_TEXT: Final = 10
"""So many different numbers for each other text are a column of numbers, even if most of its cells are that text."""
_RUNS: Final[tuple[tuple[Look, re.Pattern[str]], ...]] = (
    ("integer", re.compile(r"(?:(?:[+-]?\d{1,18})?\n)*+", re.ASCII)),
    ("whole", re.compile(r"(?:(?:[+-]?\d{1,15}(?:\.0+)?)?\n)*+", re.ASCII)),
    ("number", re.compile(r"(?:(?:[+-]?\d{1,18}(?:\.\d*)?(?:[eE][+-]?\d{1,2})?)?\n)*+", re.ASCII)),
)
"""What many cells, each with a line end, look like at once: a hundred times faster than one by one."""


@dataclass(frozen=True)
class CellOptions:
    """How to read cells: the format of numbers, and the texts that stand for a missing value, besides an empty cell.

    `text` names columns of text, whatever the cells look like. With `group_rare` a category may have more values.
    """

    number_format: NumberFormat = PLAIN
    missing: frozenset[str] = frozenset()
    text: frozenset[str] = frozenset()
    group_rare: int | None = None

    def check_categories(self, name: str, count: int) -> None:
        """Reject a category of too many different values.

        Raises:
            ValueError: with what to do.
        """
        most = MAX_CATEGORIES if self.group_rare is None else MAX_GROUPED
        if count > most:
            group = " group the rare ones with --group-rare 20," if self.group_rare is None else ""
            drop = f"leave it out with --drop {shlex.quote(name)}"
            raise ValueError(
                f"is text with more than {most:,} different values;{group} {drop}, or name it with --id if it"
                " identifies a row"
            )


@dataclass
class TextColumn:
    """What the cells of one column look like. `unit` says what counts the places of cells: lines or rows."""

    name: str
    options: CellOptions
    unit: str = "line"
    counts: Counter[Look] = field(default_factory=Counter)
    numbers: set[str] = field(default_factory=set)
    texts: Counter[str] = field(default_factory=Counter)
    """Different numbers, and cells by text of all others but empty ones; up to 5,001 each, and not those of a run."""
    first: dict[Look, tuple[int, str]] = field(default_factory=dict)

    @property
    def forced(self) -> bool:
        """Whether `--text` names the column."""
        return self.name in self.options.text

    def add(self, places: Sequence[int], texts: Sequence[str]) -> None:
        """Add consecutive cells."""
        empty = texts.count("")
        if look := self._look_of_run(texts):
            self.counts[look] += len(texts) - empty
            self.counts["missing"] += empty
            return
        for text, count in Counter(texts).items():
            look = look_of(text, self.options.number_format, self.options.missing)
            self.counts[look] += count
            self.first.setdefault(look, (places[texts.index(text)], text))
            if look in NUMBER_LOOKS:
                if len(self.numbers) < _MOST_TEXTS:
                    self.numbers.add(text)
            elif look != "missing" and (text in self.texts or len(self.texts) < _MOST_TEXTS):
                self.texts[text] += count

    def _look_of_run(self, texts: Sequence[str]) -> Look | None:
        if self.forced or self.options.missing or self.options.number_format != PLAIN:
            return None
        joined = "\n".join(texts) + "\n"
        return next((look for look, run in _RUNS if run.fullmatch(joined)), None)

    def feature(self) -> Feature:
        """The feature; it is nullable if a cell is missing.

        Raises:
            ValueError: the column can be none; the message says why, names the first cell, and what to do.
        """
        numbers, others = self._cells(NUMBER_LOOKS), self._cells(_OTHER_LOOKS)
        if not numbers and not others and not (self.forced and self.texts):
            raise ValueError(EMPTY)
        nullable = bool(self.counts["missing"])
        if not self.forced:
            gaps = nullable or bool(self.counts["blank"] or self.counts["word"])
            if not others:
                return Feature(self.name, self._kind_of_numbers(gaps=gaps), nullable=gaps)
            if others == self.counts["flag"] and not numbers:
                return Feature(self.name, "flag", nullable=gaps)
            self._check_dates()
            self._check_signs()
            self._check_format(numbers)
            self._check_numbers(numbers, others)
        self.options.check_categories(self.name, len(self.texts) + len(self.numbers))
        return Feature(self.name, "category", nullable=nullable)

    def _cells(self, looks: Iterator[Look] | frozenset[Look] | tuple[Look, ...]) -> int:
        return sum(self.counts[look] for look in looks)

    def _kind_of_numbers(self, *, gaps: bool) -> Kind:
        """Whole floats with gaps are integers: pandas writes an integer column with gaps like this."""
        if self.counts["infinite"]:
            raise ValueError(f"has an infinite number, {self._place('infinite')}; leave the cell empty, or use --drop")
        if self.counts["number"] or (self.counts["whole"] and not gaps):
            return "number"
        if self.counts["long integer"]:
            raise ValueError(BEYOND_64_BITS)
        return "integer"

    def _place(self, *looks: Look) -> str:
        place, text = min(self.first[look] for look in looks if look in self.first)
        return f"the first {text!r} in {self.unit} {place}"

    def _check_dates(self) -> None:
        if 2 * self.counts["date"] > self._cells(NUMBER_LOOKS) + self._cells(_OTHER_LOOKS):
            raise ValueError(f"has dates, {self._place('date')}, which are not a feature; {DATE_HINT}")

    def _check_signs(self) -> None:
        """Reject numbers with a percent or currency sign: as text they would be categories."""
        signed = {text: count for text, count in self.texts.items() if sign_of(text)}
        cells = sum(signed.values())
        if 2 * cells > sum(self.texts.values()) + self._cells(NUMBER_LOOKS):
            raise ValueError(
                f"{_cells(cells, self._present)} numbers with a sign, such as {next(iter(signed))!r}; remove the sign"
                f" {sign_of(next(iter(signed)))!r}, or read this column as text with --text {shlex.quote(self.name)}"
            )

    def _check_format(self, numbers: int) -> None:
        """Reject numbers in another format, and name it."""
        own = self.options.number_format
        texts = {text: count for text, count in self.texts.items() if look_of(text, own, ()) == "text"}
        formats = [each for each in (PLAIN, *OTHER_FORMATS) if each.decimal == own.decimal or not self.counts["number"]]
        likely = likely_format(texts, formats)
        if 2 * likely.cells <= sum(texts.values()) or 2 * (likely.cells + numbers) <= self._present:
            return
        example = self._place("text")
        if self.first["text"][1] in likely.others:
            example = f"such as {next(text for text in texts if text not in likely.others)!r}"
        others = f" {self._missing_options(likely.others)}" if likely.others and " or " not in likely.options else ""
        raise ValueError(
            f"{_cells(likely.cells, self._present)} numbers in another format, {example}; read the file with"
            f" {likely.options}{others} (or this column as text with --text {shlex.quote(self.name)})"
        )

    def _check_numbers(self, numbers: int, others: int) -> None:
        """Reject a column of numbers with a few other cells."""
        texts = [text for text in self.texts if text.strip() not in MISSING_WORDS and text.strip()]
        if numbers <= others and len(self.numbers) < _NUMBERS_PER_TEXT * len(texts):
            return
        noun = "a number" if others == 1 else "numbers"
        raise ValueError(
            f"{_cells(others, self._present)} not {noun}, {self._place(*_OTHER_LOOKS)}; read such cells as missing with"
            f" {self._missing_options(texts)}, or the column as text with --text {shlex.quote(self.name)}"
        )

    def _missing_options(self, texts: Sequence[str]) -> str:
        """The options that read the most frequent of these texts as missing."""
        shown = sorted(texts, key=lambda text: -self.texts[text])[:_SHOWN]
        return " ".join(f"--missing {shlex.quote(text)}" for text in shown) + (" …" if len(texts) > _SHOWN else "")

    @property
    def _present(self) -> int:
        return sum(self.counts.values()) - self.counts["missing"]

    def notes(self, kind: Kind) -> Iterator[str]:
        """What a reader of the file may not expect of the column, read as this kind."""
        if kind != "category":
            words = {
                text: count for text, count in self.texts.items() if not text.strip() or text.strip() in MISSING_WORDS
            }
            if words:
                listed = ", ".join(f"{text!r} ({count:,})" for text, count in list(words.items())[:_SHOWN])
                more = ", …" if len(words) > _SHOWN else ""
                yield f"column {self.name}: {_cells(sum(words.values()))} read as missing: {listed}{more}"
            return
        for word in sorted(MISSING_WORDS & self.texts.keys()):
            yield (
                f"column {self.name}: {_cells(self.texts[word])} {word!r}, which is a value in a column of text; to"
                f" read it as missing, use --missing {shlex.quote(word)}"
            )
        blanks = {text: count for text, count in self.texts.items() if text != text.strip()}
        if blanks:
            yield (
                f"column {self.name}: {_cells(sum(blanks.values()))} kept with the blanks around the text, such as"
                f" {next(iter(blanks))!r}"
            )


def _cells(count: int, of: int | None = None) -> str:
    total = "" if of is None else f" of {of:,}"
    return (
        f"{count:,}{total} cell is"
        if count == 1 and of is None
        else f"{count:,}{total} cells {'is' if count == 1 else 'are'}"
    )


def reader_of(feature: Feature, options: CellOptions) -> CellReader:
    """Make a reader of the feature's cells, by the rules of `TextColumn`."""
    read = feature_reader(feature)
    if feature.kind == "category":
        return lambda text: read("" if text in options.missing else text)

    def read_plain(text: str) -> Value:
        stripped = text.strip()
        if text in options.missing or stripped in MISSING_WORDS:
            return read("")
        plain = options.number_format.plain(stripped)
        return read(stripped if plain is None else plain)

    return read_plain
