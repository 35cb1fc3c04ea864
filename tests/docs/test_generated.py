"""What `make docs` makes: it is what the code says, whole, and up to date."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.generate import __main__ as command
from docs.generate import files, metrics, reading, structure
from docs.generate.commands import KINDS, commands
from docs.generate.markdown import table
from docs.generate.spans import SPANS
from leeway.telemetry import names

ROOT = Path(__file__).parents[2]
TEXTS = files.texts()


@pytest.mark.parametrize("name", TEXTS)
def test_files_are_what_the_code_makes(name: str) -> None:
    """The committed file is what `make docs` writes: run it where this fails."""
    assert (ROOT / name).read_text(encoding="utf-8") == TEXTS[name]


def test_the_command_writes_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator's command writes each text into its file, in folders that it makes."""
    monkeypatch.setattr(command, "ROOT", tmp_path)
    assert command.main() == 0
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in TEXTS} == TEXTS


# --- metrics --------------------------------------------------------------------------------------------------------
def test_every_metric_is_there() -> None:
    """Each metric has a row with both its names."""
    text = TEXTS["docs/reference/metrics.md"]
    missing = [each.name for each in names.ALL if f"| `{each.name}` | `{each.prometheus_name}` |" not in text]
    assert missing == []


def test_every_name_has_a_remark() -> None:
    """Each attribute, span and event of `names` says after `#:` what it means."""
    texts = {constant for constant, value in vars(names).items() if isinstance(value, str)}
    spans = {constant for constant in texts if constant.startswith(("SPAN_", "EVENT_"))}
    assert spans | metrics.attributes().keys() == metrics.remarks().keys()


def test_every_attribute_is_in_use() -> None:
    """No attribute is documented that stands on no metric and no span."""
    used = {attribute for metric in names.ALL for attribute in metric.attributes}
    used |= {attribute for span in SPANS for attribute in (*span.attributes, *span.link_attributes)}
    assert set(metrics.attributes().values()) - used == set()


# --- settings -------------------------------------------------------------------------------------------------------
def test_every_setting_is_read_by_a_command() -> None:
    """No setting is documented that nothing makes use of."""
    fields = {field for kind in KINDS.values() for field in kind.model_fields}
    assert fields - {field for command in commands() for field in command.reads} == set()


def test_a_command_is_said_to_read_what_it_reads_only() -> None:
    """`leeway drift run` has a window of its own and no use for the worker's setting."""
    reads = {each.name: each.reads for each in commands()}
    assert "drift_window" in reads["leeway drift worker"]
    assert "drift_window" not in reads["leeway drift run"]
    assert "drift_min_rows" in reads["leeway drift run"]
    assert "spool_limit" in reads["leeway serve"]


def test_a_word_that_is_compared_is_no_setting() -> None:
    """Of texts in a comparison only those are fields that are looked for among the settings that were set."""
    source = ast.parse('"spool" in settings.model_fields_set or "bundle" in names or "url" == kind')
    assert list(reading._texts(source)) == ["spool"]


def test_flags_are_those_of_the_command() -> None:
    """A setting's flag is shown as the command has it, whatever the setting's own name."""
    flags = {each.name: each.flags for each in commands()}
    assert flags["leeway drift worker"]["reports_port"] == "--port"
    assert flags["leeway drift run"]["reports"] == "--report-dir"


def test_variables_of_opentelemetry_are_documented() -> None:
    """Each `OTEL_*` variable that our code reads itself is in the reference."""
    source = (ROOT / "leeway" / "telemetry" / "environment.py").read_text(encoding="utf-8")
    read = set(re.findall(r'"(OTEL_[A-Z_]+)"', source))
    assert read
    assert [each for each in read if f"`{each}`" not in TEXTS["docs/reference/settings.md"]] == []


def test_what_compose_takes_is_documented() -> None:
    """Each variable of ours that compose.yaml takes from its surroundings has a row in the last section."""
    taken = set(re.findall(r"\$\{(LEEWAY_[A-Z_]+)", (ROOT / "compose.yaml").read_text(encoding="utf-8")))
    _, _, section = TEXTS["docs/reference/settings.md"].partition("## What `docker compose up` passes on")
    assert set(re.findall(r"^\| `(LEEWAY_[A-Z_]+)` \|", section, re.MULTILINE)) == taken


# --- pictures -------------------------------------------------------------------------------------------------------
def test_the_picture_has_the_packages_arrows() -> None:
    """Processes stand on `leeway`, know nothing of each other, and Evidently lives in one package."""
    drawn = structure.packages()
    assert "m_service --> m_leeway" in drawn
    assert not re.search(r"m_(service|leeway|leeway_telemetry) --> m_drift|m_drift --> m_service", drawn)
    assert re.findall(r"(\w+) -\.-> m_evidently", drawn) == ["m_drift"]


def test_long_ways_make_short_ones_needless() -> None:
    """Of a → b → c and a → c the last arrow is left out, and no other."""
    arrows = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")]
    assert structure._shortest(arrows) == [("a", "b"), ("a", "d"), ("b", "c")]


def test_a_circle_is_refused() -> None:
    """Modules that import each other in a circle make no picture, but an error that names them."""
    with pytest.raises(ValueError, match="a, b"):
        structure._shortest([("a", "b"), ("b", "a"), ("c", "a")])


# --- tables ---------------------------------------------------------------------------------------------------------
def test_a_bar_does_not_break_a_table() -> None:
    """A bar in a cell stays inside it."""
    assert table(("a",), [("x | y",)]).splitlines()[-1] == r"| x \| y |"


def test_a_row_of_another_length_is_refused() -> None:
    """A row with a cell too few is an error, not a crooked table."""
    with pytest.raises(ValueError, match="2 cells"):
        table(("a", "b"), [("x",)])
