"""Shared by the commands: flags for settings, plain error messages, and a console for terminals and pipes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, get_args, get_origin

import typer
from typer.core import TyperGroup

from leeway.settings import Settings, SettingsError

if TYPE_CHECKING:
    from rich.console import Console

FAILED, BAD_INPUT = 1, 2
HELP: Final = {"help_option_names": ["-h", "--help"]}
YEAR_S = 366 * 86_400
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
PIPE_WIDTH = 1_000
"""Characters; wider than any table."""


class PlainGroup(TyperGroup):
    """A group in which an invalid setting ends every command with one plain line."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (Typer's own type for a context is private)
        """See `TyperGroup.invoke`."""
        with plain_errors(SettingsError):
            return super().invoke(ctx)


def setting(kind: type[Settings], name: str, *flags: str) -> Any:  # noqa: ANN401 (Typer's own type for options is private)
    """An option for the setting `name`. Its help shows the variable and the default of the setting.

    Without the flag, the environment variable applies.
    """
    field = kind.model_fields[name]
    default = "" if field.default is None else f"; default {field.default}"
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)),
        help=f"{field.description}. [LEEWAY_{name.upper()}{default}]",
        metavar=_metavar(name, field.annotation),
        show_default=False,
    )


def _metavar(name: str, annotation: Any) -> str:  # noqa: ANN401 (an annotation may be anything)
    """The placeholder that help shows for a setting's value."""
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if annotation is float:
        return "SECONDS"
    kinds = {
        "url": "URL",
        "source": "URL",
        "reference": "REFERENCE",
        "by": "COLUMN",
        "port": "PORT",
        "host": "ADDRESS",
        "rows": "N",
    }
    kinds |= dict.fromkeys(("file", "certificate", "key", "mapping"), "FILE")
    return kinds.get(name.rpartition("_")[2], "FOLDER")


def parse_date(text: str) -> date:
    """A date on the command line.

    Raises:
        typer.BadParameter: it is not an ISO date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: give one like 2024-01-31") from None


def parse_length(text: str, option: str, *, longest_s: float = YEAR_S) -> timedelta:
    """A length of time on the command line, such as 90s or 1h.

    Raises:
        typer.Exit: with code 2 and a message that names `option`.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])", text.strip())
    length_s = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if not 0 < length_s <= longest_s:
        years = f"{longest_s / YEAR_S:.0f} years" if longest_s > YEAR_S else "a year"
        stop(
            f"{option} {text!r} is not a valid length: give a number and s, m, h or d, like 90s or 1h; at most {years}"
        )
    return timedelta(seconds=length_s)


def examples(*lines: str) -> str:
    """Example commands for the end of a help text; the first character keeps the lines unwrapped."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


DatabaseUrl = Annotated[str | None, setting(Settings, "database_url")]
BundleFolder = Annotated[Path | None, setting(Settings, "bundle")]


def console() -> Console:
    """A console as wide as the terminal; in a pipe so wide that no line is wrapped."""
    from rich.console import Console

    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def stop(message: str, code: int = BAD_INPUT) -> NoReturn:
    """Print the message on standard error, unwrapped, and exit with `code`."""
    print(f"leeway: {message}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def plain_errors(*kinds: type[Exception], code: int = BAD_INPUT) -> Iterator[None]:
    """Turn expected errors into their message and an exit code; others keep their traceback."""
    try:
        yield
    except kinds as error:
        stop(str(error), code)


def ignore_invalid_telemetry() -> None:
    """Ignore invalid `OTEL_*` variables with a warning; call it before importing what uses OpenTelemetry.

    Raises:
        typer.Exit: with code 2 if all telemetry of a kind would be lost.
    """
    from leeway.telemetry.environment import TelemetryError
    from leeway.telemetry.variables import ignore_invalid_variables

    with plain_errors(TelemetryError):
        ignore_invalid_variables()
