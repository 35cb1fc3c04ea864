"""What one cell of text looks like: a number in a given format, a flag, a date, a word for a missing value, or text."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

from leeway.data.csv_table import FLAGS, INTEGER, NUMBER
from leeway.schema import INT64_MAX, INT64_MIN

Look: TypeAlias = Literal[
    "missing", "blank", "word", "integer", "long integer", "whole", "number", "infinite", "flag", "date", "text"
]
"""`missing`: an empty cell, or one that `--missing` names; `blank`: spaces only; `word`: see `MISSING_WORDS`;
`long integer`: beyond 64 bits; `whole`: like 40.0, which is how pandas writes an integer column with gaps."""

MISSING_WORDS: Final = frozenset(
    {
        *("NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "#N/A N/A", "NULL", "null", "None", "none"),
        *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    }
)
"""Words that R, pandas and spreadsheets write for a missing number. In a column of text they are values."""

NUMBER_LOOKS: Final[frozenset[Look]] = frozenset({"integer", "long integer", "whole", "number", "infinite"})
_SURE_DIGITS = 18  # an integer of so many digits fits in 64 bits
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+\.0+", re.ASCII)
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}"  # 2020-01-31, 2020/1/31
    r"|(19|20)\d{2}[-/](0[1-9]|1[0-2]|W\d{2}|Q[1-4])"  # 2020-01, 2020-W05, 2020-Q1
    r"|\d{1,2}[/.]\d{1,2}[/.](\d{4}|\d{2})|\d{1,2}-\d{1,2}-\d{4}"  # 31.1.2020, 1/31/20, 31-01-2020
    rf"|\d{{1,2}}[-/. ]\s?{_MONTH}[-/., ]\s?\d{{2,4}}"  # 12-Jan-2020, 12. January 2020
    rf"|{_MONTH}[-/. ]\d{{1,2}},?[-/ ]\d{{2,4}}"  # Jan 12, 2020
    rf"|\d{{4}}[-/ ]{_MONTH}[-/ ]\d{{1,2}})"  # 2020-Jan-12
    r"(,?[T ]\s?\d{1,2}:\d{2}.*)?",
    re.IGNORECASE | re.ASCII,
)


_SIGNS: Final = "%‰$€£¥₹₽₩₺"
_SIGNED: Final = re.compile(rf"[+-]?([{_SIGNS}])\s?[+-]?\d[\d.,' \xa0]*|[+-]?\d[\d.,' \xa0]*?\s?([{_SIGNS}])")


def sign_of(text: str) -> str | None:
    """The percent or currency sign beside a number; None without one.

    >>> sign_of("12.5 %"), sign_of("-$1,200.00"), sign_of("12.5"), sign_of("100% wool")
    ('%', '$', None, None)
    """
    match = _SIGNED.fullmatch(text.strip())
    return match and (match[1] or match[2])


@dataclass(frozen=True)
class NumberFormat:
    """How numbers are written: the decimal sign, and the sign between groups of three digits, if there is one.

    >>> NumberFormat(",", ".").plain("1.234,5"), NumberFormat(",", ".").plain("1.23"), NumberFormat().plain("1,5")
    ('1234.5', None, None)
    """

    decimal: str = "."
    thousands: str = ""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        groups = rf"|\d{{1,3}}(?:{re.escape(self.thousands)}\d{{3}})+" if self.thousands else ""
        point = re.escape(self.decimal)
        return re.compile(rf"[+-]?(?:(?:\d+{groups})(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d+)?", re.ASCII)

    def plain(self, text: str) -> str | None:
        """The number with a decimal point and without groups, or None if the text has another format."""
        if not self._pattern.fullmatch(text):
            return None
        return (text.replace(self.thousands, "") if self.thousands else text).replace(self.decimal, ".")

    @property
    def options(self) -> str:
        """The options of `leeway train` that choose this format."""
        decimal = f"--decimal {_quoted(self.decimal)}" if self.decimal != "." else ""
        thousands = f"--thousands {_quoted(self.thousands)}" if self.thousands else ""
        return " ".join(filter(None, (decimal, thousands)))


PLAIN: Final = NumberFormat()
"""The format of a program: a decimal point, and no groups."""

OTHER_FORMATS: Final = (
    *(NumberFormat(","), NumberFormat(",", "."), NumberFormat(".", ","), NumberFormat(",", " ")),
    *(NumberFormat(".", " "), NumberFormat(".", "'"), NumberFormat(",", "'"), NumberFormat(",", "\xa0")),
    *(NumberFormat(",", "\u202f"), NumberFormat(".", "\xa0"), NumberFormat(".", "\u2019")),
)
"""Formats that are recognized, so that a message can name their options; the likelier come first."""


@dataclass(frozen=True)
class LikelyFormat:
    """The format that reads most of some cells: how many, the options that choose it, and the texts it cannot read."""

    cells: int
    options: str
    others: tuple[str, ...]


def likely_format(texts: Mapping[str, int], formats: Iterable[NumberFormat]) -> LikelyFormat:
    """The likeliest of the formats for texts, each with its number of cells.

    >>> likely_format({"1,50": 3, "2,25": 2, "x": 1}, (PLAIN, *OTHER_FORMATS))
    LikelyFormat(cells=5, options='--decimal ,', others=('x',))
    """
    matches = {each: sum(count for text, count in texts.items() if each.plain(text.strip())) for each in formats}
    most = max(matches.values())
    found = [each for each, count in matches.items() if count == most]
    options = [found[0].options or "neither --decimal nor --thousands"]
    if found[0] == NumberFormat(",") and NumberFormat(".", ",") in found:  # 1,234 is either
        options.append(NumberFormat(".", ",").options)
    others = tuple(text for text in texts if not found[0].plain(text.strip()))
    return LikelyFormat(most, " or ".join(options), others)


def look_of(text: str, number_format: NumberFormat, missing: Collection[str]) -> Look:
    """What the text looks like; surrounding blanks do not count, but in the texts of `missing`."""
    if not text or text in missing:
        return "missing"
    stripped = text.strip()
    if not stripped or stripped in MISSING_WORDS:
        return "word" if stripped else "blank"
    plain = number_format.plain(stripped)
    return _look_of_text(stripped) if plain is None else _look_of_number(plain)


def _look_of_text(text: str) -> Look:
    if _INFINITE.fullmatch(text):
        return "infinite"
    if text.lower() in FLAGS:
        return "flag"
    return "date" if _DATE.fullmatch(text) else "text"


def _look_of_number(plain: str) -> Look:
    if INTEGER.fullmatch(plain):
        return "integer" if len(plain) <= _SURE_DIGITS or INT64_MIN <= int(plain) <= INT64_MAX else "long integer"
    if not NUMBER.fullmatch(plain) or not math.isfinite(float(plain)):
        return "infinite"
    return "whole" if _WHOLE.fullmatch(plain) and abs(float(plain)) <= 2**53 else "number"


def _quoted(sign: str) -> str:
    return sign if sign in ",." else f"'{sign}'" if sign != "'" else '"\'"'
