"""What is written by hand: links lead somewhere, commands, flags and files exist, decisions have their form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from docs.screenshots import IMAGES, SHOTS
from tests.docs.typed import typed, unknown

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "adr").glob("*.md"))
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@EACH_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to another file of ours is to one that is there, and to a heading that it has."""
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
    """Each picture in `docs/img` is one that `make screenshots` takes, and stands on a page."""
    shown = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r'(?:!\[[^\]]*\]\(|src(?:set)?=")([^")]+\.png)', page.read_text(encoding="utf-8"))
    }
    assert shown == set(IMAGES.iterdir()) == {IMAGES / f"{shot.name}.png" for shot in SHOTS}


def test_the_stack_moves_to_other_ports_as_its_page_says() -> None:
    """The override on the stack's page moves every port but the API's, and the drift worker's links with them."""
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
    """Each `make` command that a page names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))
    named |= {target for several in re.findall(r"`make ([a-z -]+)", text) for target in several.split()}
    assert named - targets == set()


@EACH_PAGE
def test_leeway_commands_exist(page: Path) -> None:
    """Each `leeway` command that a page names is one that there is, with each of its flags."""
    wrong = {" ".join(words): unknown(words) for words in typed(page.read_text(encoding="utf-8"))}
    assert {command: words for command, words in wrong.items() if words} == {}


def test_commands_are_found_where_readers_see_them() -> None:
    """Commands are read from shell blocks, from code in a sentence, and from what traffic is told in compose."""
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
def test_what_is_no_command_is_noticed(words: list[str]) -> None:
    """A command, or a command below one, or a flag that there is not is named."""
    assert unknown(words) == words[-1:]


@EACH_PAGE
def test_modules_named_exist(page: Path) -> None:
    """Each file of ours that a page names in code is there."""
    named = re.findall(
        r"`((?:leeway|service|drift|cli|docs|tests|observability)/[\w./]+)`", page.read_text(encoding="utf-8")
    )
    assert [each for each in named if not (ROOT / each).exists()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    """Decisions are numbered from 1 on, in their name and in their title."""
    numbers = [int(page.name.split("-")[0]) for page in DECISIONS]
    titled = [int(re.match(r"# (\d+)\. ", page.read_text(encoding="utf-8"))[1]) for page in DECISIONS]  # type: ignore[index]  # one without a number fails here
    assert numbers == titled == list(range(1, len(DECISIONS) + 1))


def test_the_index_names_every_page() -> None:
    """Whoever begins at `docs/README.md` finds every page, but the decisions, which are one link."""
    folder = ROOT / "docs"
    index = (folder / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(folder).as_posix() for page in PAGES if folder in page.parents and page not in DECISIONS]
    assert [each for each in pages if each != "README.md" and f"({each})" not in index] == []
