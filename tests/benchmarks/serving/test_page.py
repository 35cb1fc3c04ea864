from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.serving.page import PAGE, write_section

ROOT = Path(__file__).parents[3]


def test_a_command_replaces_its_own_section_only(tmp_path: Path) -> None:
    """What is written by hand, and other sections, stay."""
    page = tmp_path / "page.md"
    kept = "<!-- two: begin -->\nkept\n<!-- two: end -->\n"
    page.write_text(f"# Title\n<!-- one: begin -->\nold\n<!-- one: end -->\n{kept}")
    for text in ("new", "newer"):
        write_section(page, "one", text)
    assert page.read_text() == f"# Title\n<!-- one: begin -->\n\nnewer\n\n<!-- one: end -->\n{kept}"


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    """Nothing is written to a page that has no such section."""
    page = tmp_path / "page.md"
    page.write_text("# Title\n")
    with pytest.raises(ValueError, match="one: begin"):
        write_section(page, "one", "text")
    assert page.read_text() == "# Title\n"


@pytest.mark.parametrize("name", ["serve", "peers", "kills"])
def test_the_page_has_the_sections_that_are_written(name: str, tmp_path: Path) -> None:
    """`--write` finds its section in docs/benchmarks.md."""
    copy = tmp_path / "benchmarks.md"
    copy.write_text((ROOT / PAGE).read_text())
    write_section(copy, name, "figures")
    assert "\nfigures\n" in copy.read_text()
