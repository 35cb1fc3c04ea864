"""`leeway keys`: the API keys of a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import HELP, examples, plain_errors, setting
from leeway.keys import KeysError, Scope
from leeway.settings import KeysSettings

KeysFile = Annotated[Path | None, setting(KeysSettings, "api_keys_file", "--file")]

keys = typer.Typer(
    no_args_is_help=True,
    context_settings=HELP,
    short_help="Add, list and revoke API keys.",
    help="Add, list and revoke API keys.\n\nThe service and the reports page read the file of LEEWAY_API_KEYS_FILE, and"
    " read it again within a second of a change. Exit codes: 0 done, 2 bad input, or the file cannot be used.",
)


@keys.command(
    "add",
    short_help="Make a key and print it once.",
    epilog=examples("leeway keys add shop --scope predict --scope feedback"),
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is for; traces and metrics show this name")],
    scope: Annotated[
        list[Scope],
        typer.Option(metavar="|".join(Scope), help="What it may do; operate: model, metrics, docs, faults, reports"),
    ],
    file: KeysFile = None,
) -> None:
    """Make a key and print it: the only time it can be seen, because the file keeps a hash."""
    from leeway.keys import add_key

    path = KeysSettings.read(api_keys_file=file).api_keys_file
    with plain_errors(KeysError):
        print(add_key(path, name, scope))


@keys.command("list")
def list_keys(file: KeysFile = None) -> None:
    """List names, scopes and dates of all keys."""
    from leeway.keys import read_keys

    path = KeysSettings.read(api_keys_file=file).api_keys_file
    with plain_errors(KeysError):
        found = read_keys(path)
    width = max((len(key.name) for key in found), default=0)
    for key in found:
        print(f"{key.name:{width}}  lw_{key.id}_…  {key.created:%Y-%m-%d}  {', '.join(sorted(key.scopes))}")


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of a key")], file: KeysFile = None
) -> None:
    """Remove a key; requests with it are rejected within a second."""
    from leeway.keys import revoke_key

    path = KeysSettings.read(api_keys_file=file).api_keys_file
    with plain_errors(KeysError):
        revoke_key(path, name)
    print(f"revoked {name}")
