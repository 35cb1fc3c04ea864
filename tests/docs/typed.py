"""What pages tell a reader to type: the `leeway` commands in them, and whether there are such."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from cli.main import app

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?:^|\s)leeway (?!COMMAND)([^|&;<>\n]+)")
_TRAFFIC = re.compile(r'LEEWAY_TRAFFIC="([^"]*)"')
HELP = {"-h", "--help"}


def typed(page: str) -> Iterator[list[str]]:
    """The words after `leeway` of each command in a page's shell blocks and inline code; LEEWAY_TRAFFIC's too."""
    for text in [*_BLOCK.findall(page), *_INLINE.findall(_BLOCK.sub("", page))]:
        whole = text.replace("\\\n", " ")
        for line in whole.splitlines():
            for command in _COMMAND.findall(line):
                yield shlex.split(command, comments=True)
            for flags in _TRAFFIC.findall(line):
                yield ["traffic", *shlex.split(flags)]


def unknown(words: list[str]) -> list[str]:
    """Those of a command's words that name no command and no flag of it; what a flag is given is not looked at."""
    command: Any = typer.main.get_command(app)
    words = list(words)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    flags = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)} | HELP
    strays = [words[0]] if words and hasattr(command, "commands") and not words[0].startswith("-") else []
    return strays + [each for each in words if each.startswith("-") and each.split("=")[0] not in flags]
