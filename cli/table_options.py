"""How the cells of a CSV file are written: the options that commands share, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cli.options import stop

if TYPE_CHECKING:
    from leeway.data.cells import NumberFormat

MISSING: Final = "a cell that stands for a missing value, like '?'; repeatable"
SEPARATOR: Final = "between the fields of a CSV file; default: recognized"
DECIMAL: Final = "the decimal sign, . or ,; default: ."
THOUSANDS: Final = "between groups of three digits; default: none"
_NAMED: Final = {"tab": "\t", "\\t": "\t"}


def separator_of(given: str | None) -> str | None:
    """The separator; `tab` names a tab. An invalid one ends the command."""
    separator = _NAMED.get(given or "", given)
    if separator is not None and len(separator) != 1:
        stop(f"--separator {given!r} is not one character; for a tab write tab")
    return separator


def number_format(decimal: str, thousands: str) -> NumberFormat:
    """The format of numbers; an invalid one ends the command."""
    from leeway.data.cells import NumberFormat

    if len(thousands) > 1 or thousands.isalnum():
        stop(f"--thousands {thousands!r} is not one sign")
    if thousands == decimal:
        stop("--decimal and --thousands cannot be the same sign")
    return NumberFormat(decimal, thousands)
