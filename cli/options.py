"""What the commands share: flags that stand for settings, plain errors, and a console for people and pipes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, get_args, get_origin

import typer
from typer.core import TyperGroup

from leeway.settings import Settings, SettingsError

if TYPE_CHECKING:
    from rich.console import Console

FAILED, BAD_INPUT = 1, 2
HELP: Final = {"help_option_names": ["-h", "--help"]}
PIPE_WIDTH = 1_000
"""Characters; more than any table takes."""


class PlainGroup(TyperGroup):
    """Commands in which a setting that cannot be used ends in one plain line, whichever command meets it."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 (Typer's own type for a context is private)
        """See `TyperGroup.invoke`."""
        with plain_errors(SettingsError):
            return super().invoke(ctx)


def setting(kind: type[Settings], name: str, *flags: str) -> Any:  # noqa: ANN401 (Typer's own type for options is private)
    """An option for the setting `name`: its help names the variable and the default, read from the setting itself.

    Where the flag is not given, the environment decides.
    """
    field = kind.model_fields[name]
    default = "" if field.default is None else f"; default {field.default}"
    return typer.Option(
        *(flags or (f"--{name.replace('_', '-')}",)),
        help=f"{field.description}. [LEEWAY_{name.upper()}{default}]",
        metavar=_stands_for(name, field.annotation),
        show_default=False,
    )


def _stands_for(name: str, annotation: Any) -> str:  # noqa: ANN401 (an annotation may be anything)
    """The word that help shows for a setting's value."""
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if annotation is float:
        return "SECONDS"
    kinds = {"url": "URL", "port": "PORT", "host": "ADDRESS", "file": "FILE", "spool": "FILE"}
    return kinds.get(name.rpartition("_")[2], "FOLDER")


def a_date(text: str) -> date:
    """A date as people give it to a command.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date: give one like 2024-01-31") from None


def examples(*lines: str) -> str:
    """Commands to try, for the end of a command's help; the first sign keeps the lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


DatabaseUrl = Annotated[str | None, setting(Settings, "database_url")]
BundleFolder = Annotated[Path | None, setting(Settings, "bundle")]


def console() -> Console:
    """A console as wide as the terminal; in a pipe as wide as it takes, so that no line is broken."""
    from rich.console import Console

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a sign that this terminal lacks is no reason to stop
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def stop(message: str, code: int = BAD_INPUT) -> NoReturn:
    """Say what is wrong on standard error, plainly and unwrapped, and leave with `code`."""
    print(f"leeway: {message}", file=sys.stderr)
    raise typer.Exit(code)


@contextmanager
def plain_errors(*kinds: type[Exception], code: int = BAD_INPUT) -> Iterator[None]:
    """Turn expected errors into their message and an exit code; the rest keep their traceback."""
    try:
        yield
    except kinds as error:
        stop(str(error), code)
