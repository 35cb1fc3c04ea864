"""Hand-written pages: links work, and commands, options, files and metrics exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from cli.main import app
from docs.generate import settings
from docs.generate.metrics import attributes
from docs.screenshots import IMAGES, SHOTS
from leeway.telemetry import names

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
VARIABLES = {
    *(settings.variable(name) for kind in settings.SECTIONS for name in kind.model_fields),
    *re.findall(r"\$\{(LEEWAY_[A-Z_]+)", (ROOT / "compose.yaml").read_text(encoding="utf-8")),
}
TELEMETRY = {each.name for each in names.ALL} | set(attributes().values())
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"(?:^|\s)leeway (?!COMMAND)([^|&;<>\n]+)")
_TRAFFIC = re.compile(r'LEEWAY_TRAFFIC="([^"]*)"')
HELP = {"-h", "--help"}


def typed(page: str) -> Iterator[list[str]]:
    """The words after `leeway` of each command in a page's shell blocks and inline code, and in `LEEWAY_TRAFFIC`."""
    for text in [*_BLOCK.findall(page), *_INLINE.findall(_BLOCK.sub("", page))]:
        whole = text.replace("\\\n", " ")
        for line in whole.splitlines():
            for command in _COMMAND.findall(line):
                yield shlex.split(command, comments=True)
            for flags in _TRAFFIC.findall(line):
                yield ["traffic", *shlex.split(flags)]


def unknown(words: list[str]) -> list[str]:
    """The words of a command that are neither a command nor an option of it; values of options are ignored."""
    command: Any = typer.main.get_command(app)
    words = list(words)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    flags = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)} | HELP
    strays = [words[0]] if words and hasattr(command, "commands") and not words[0].startswith("-") else []
    return strays + [each for each in words if each.startswith("-") and each.split("=")[0] not in flags]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub generates them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@EACH_PAGE
def test_links_work(page: Path) -> None:
    """Each link to a file of the repository names an existing file and heading."""
    broken = []
    for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if name.startswith(("http://", "https://")):
            continue
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_every_picture_is_shown() -> None:
    """Each picture in `docs/img` is taken by `make screenshots` and shown on a page."""
    shown = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r'(?:!\[[^\]]*\]\(|src(?:set)?=")([^")]+\.png)', page.read_text(encoding="utf-8"))
    }
    assert shown == set(IMAGES.iterdir()) == {IMAGES / f"{shot.name}.png" for shot in SHOTS}


def test_the_example_override_moves_all_ports() -> None:
    """The example in `stack.md` moves each port except the API's, and the drift worker's links with them."""
    page = (ROOT / "docs/stack.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    moved = yaml.safe_load(text.replace("!override", ""))["services"]
    usual = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    published = {name: service["ports"][0] for name, service in usual.items() if "ports" in service}
    assert moved.keys() == published.keys() - {"service"}
    ports = {name: service["ports"][0].split(":")[1:] for name, service in moved.items()}
    assert {name: inside for name, (_, inside) in ports.items()} == {
        name: published[name].split(":")[-1] for name in moved
    }
    assert moved["drift"]["environment"] == {
        "LEEWAY_REPORTS_URL": f"http://127.0.0.1:{ports['drift'][0]}",
        "LEEWAY_TRACE_URL": f"http://127.0.0.1:{ports['jaeger'][0]}/trace",
    }


@EACH_PAGE
def test_make_targets_exist(page: Path) -> None:
    """Each `make` target that a page names exists."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    named |= {target for several in re.findall(r"`make ([a-z -]+)", text) for target in several.split()}
    assert named - targets == set()


@EACH_PAGE
def test_leeway_commands_exist(page: Path) -> None:
    """Each `leeway` command that a page names exists, with all its options."""
    wrong = {" ".join(words): unknown(words) for words in typed(page.read_text(encoding="utf-8"))}
    assert {command: words for command, words in wrong.items() if words} == {}


def test_commands_are_found() -> None:
    """Commands are found in shell blocks, in inline code, and in `LEEWAY_TRAFFIC`."""
    page = (
        "```sh\nleeway serve --port 0 > serve.log &\ncurl x | leeway drift \\\n  --nowhere 1 # leeway none\n```\n"
        'See `docker compose exec service leeway doctor --json`, `LEEWAY_TRAFFIC="--rate 1 --far"`, and leeway alone.'
    )
    found = list(typed(page))
    assert found == [
        ["serve", "--port", "0"],
        ["drift", "--nowhere", "1"],
        ["doctor", "--json"],
        ["traffic", "--rate", "1", "--far"],
    ]
    assert [unknown(words) for words in found] == [[], ["--nowhere"], [], ["--far"]]


@pytest.mark.parametrize("words", [["drift", "walk"], ["run"], ["serve", "--for=1"]])
def test_unknown_commands_are_noticed(words: list[str]) -> None:
    """An unknown command, subcommand or option is reported."""
    assert unknown(words) == words[-1:]


@EACH_PAGE
def test_files_named_exist(page: Path) -> None:
    """Each file of the repository that a page names in code exists."""
    named = re.findall(
        r"`((?:leeway|service|drift|cli|docs|tests|observability|otel-collector|benchmarks)/[\w./-]+)`",
        page.read_text(encoding="utf-8"),
    )
    jobs = {"leeway/leeway-service", "leeway/leeway-drift"}  # labels of Prometheus, not files
    assert [each for each in named if each not in jobs and not (ROOT / each).exists()] == []


@EACH_PAGE
def test_variables_named_exist(page: Path) -> None:
    """Each `LEEWAY_` variable that a page names is one that a setting, compose.yaml or a test reads."""
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"\bLEEWAY_[A-Z_]*[A-Z]\b", text)) - VARIABLES == set()


@EACH_PAGE
def test_telemetry_named_exists(page: Path) -> None:
    """Each metric, attribute and module that a page names as `leeway.…` exists."""
    unknown_names = set(re.findall(r"`(leeway\.[a-z_.]+)`", page.read_text(encoding="utf-8"))) - TELEMETRY
    paths = {name: ROOT / name.replace(".", "/") for name in unknown_names}
    assert [name for name, path in paths.items() if not (path.is_dir() or path.with_suffix(".py").is_file())] == []


def test_decisions_are_numbered() -> None:
    """Decisions are numbered from 1 without gaps, in file name and title."""
    numbers = [int(page.name.split("-")[0]) for page in DECISIONS]
    titled = [int(re.match(r"# (\d+)\. ", page.read_text(encoding="utf-8"))[1]) for page in DECISIONS]  # type: ignore[index]  # a title without a number fails here
    assert numbers == titled == list(range(1, len(DECISIONS) + 1))


def test_the_index_names_every_page() -> None:
    """`docs/README.md` links to every page; the decisions have one link together."""
    folder = ROOT / "docs"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(folder).as_posix() for page in PAGES if folder in page.parents and page not in DECISIONS]
    assert [each for each in pages if each != "README.md" and f"({each})" not in index] == []
