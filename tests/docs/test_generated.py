"""The generated documentation is complete and up to date."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

import leeway.settings
from cli.main import app
from docs.generate import __main__ as generator
from docs.generate import metrics, settings, structure
from docs.generate.markdown import table
from docs.generate.spans import SPANS
from leeway.settings import Settings, SettingsError
from leeway.telemetry import names

ROOT = Path(__file__).parents[2]
TEXTS = generator.texts()
ARGUMENTS = {
    "leeway ingest": ["--as-of", "2024-01-31", "."],
    "leeway train": ["--as-of", "2024-01-31"],
    "leeway drift run": ["--reference", "2024-01-31", "--current", "2024-02-29"],
    "leeway drift check": ["--reference", "2024-01-31", "--current", "2024-02-29"],
    "leeway reference make": ["--period", "2026-10-01", "--out", "none"],
    "leeway faults on": ["--slow-scoring", "80"],
    "leeway keys add": ["shop", "--scope", "predict"],
    "leeway keys revoke": ["shop"],
    "leeway log prune": ["--keep", "90d"],
    "leeway log forget": ["--user", "ann"],
}
"""What some commands need to get as far as their settings."""


@pytest.mark.parametrize("name", TEXTS)
def test_files_are_up_to_date(name: str) -> None:
    """The committed file is what `make docs` writes: run it if this fails."""
    assert (ROOT / name).read_text(encoding="utf-8") == TEXTS[name]


def test_the_command_writes_every_file(tmp_path: Path) -> None:
    """The generator writes each text to its file and creates missing folders."""
    assert generator.main(tmp_path) == 0
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in TEXTS} == TEXTS


# --- metrics --------------------------------------------------------------------------------------------------------
def test_every_metric_is_documented() -> None:
    """Each metric has a row with its OpenTelemetry name and its Prometheus name."""
    text = TEXTS["docs/reference/metrics.md"]
    missing = [each.name for each in names.ALL if f"| `{each.name}` | `{each.prometheus_name}` |" not in text]
    assert missing == []


def test_every_name_has_a_meaning() -> None:
    """Each attribute, span and event in `names` has its meaning after `#:`."""
    texts = {constant for constant, value in vars(names).items() if isinstance(value, str)}
    spans = {constant for constant in texts if constant.startswith(("SPAN_", "EVENT_"))}
    assert spans | metrics.attributes().keys() == metrics.remarks().keys()


def test_every_attribute_is_in_use() -> None:
    """Each documented attribute is used by a metric or a span."""
    used = {attribute for metric in names.ALL for attribute in metric.attributes}
    used |= {attribute for span in SPANS for attribute in (*span.attributes, *span.link_attributes)}
    assert set(metrics.attributes().values()) - used == set()


# --- settings -------------------------------------------------------------------------------------------------------
def test_every_setting_is_documented() -> None:
    """Each field of each settings class has a row."""
    kinds = [each for each in vars(leeway.settings).values() if isinstance(each, type) and issubclass(each, Settings)]
    text = TEXTS["docs/reference/settings.md"]
    missing = [name for kind in kinds for name in kind.model_fields if f"| `{settings.variable(name)}` |" not in text]
    assert {kind for kind in kinds if settings.own_fields(kind)} == settings.SECTIONS.keys()
    assert missing == []


@pytest.mark.parametrize(("command", "kind"), settings.COMMANDS.items())
def test_a_command_reads_the_settings_documented(
    command: str, kind: type[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command reads the settings class that the reference names."""
    read = []

    def stop(cls: type[Settings], /, **_: object) -> NoReturn:
        read.append(cls)
        raise SettingsError

    monkeypatch.setattr(Settings, "read", classmethod(stop))
    CliRunner().invoke(app, [*command.split()[1:], *ARGUMENTS.get(command, [])])
    assert read == [kind]


def test_every_command_with_settings_is_listed() -> None:
    """Each command with an option for a setting is listed, and its settings class has that setting."""
    wrong = [
        (command, name)
        for command, options in settings.options().items()
        for name in options
        if name not in settings.COMMANDS[command].model_fields
    ]
    assert wrong == []


def test_options_are_those_of_the_command() -> None:
    """A setting's option is shown as the command names it, even if it differs from the setting's name."""
    options = settings.options()
    assert options["leeway drift worker"]["reports_port"] == "--port"
    assert options["leeway drift run"]["reports"] == "--report-dir"


def test_variables_of_opentelemetry_are_documented() -> None:
    """Each `OTEL_*` variable that our code reads is in the reference."""
    source = (ROOT / "leeway" / "telemetry" / "environment.py").read_text(encoding="utf-8")
    read = set(re.findall(r'"(OTEL_[A-Z_]+)"', source))
    assert read
    assert [each for each in read if f"`{each}`" not in TEXTS["docs/reference/settings.md"]] == []


def test_variables_of_compose_are_documented() -> None:
    """Each `LEEWAY_*` variable that compose.yaml takes from its environment has a row in the last section."""
    taken = set(re.findall(r"\$\{(LEEWAY_[A-Z_]+)", (ROOT / "compose.yaml").read_text(encoding="utf-8")))
    _, _, section = TEXTS["docs/reference/settings.md"].partition("## Docker Compose")
    assert set(re.findall(r"^\| `(LEEWAY_[A-Z_]+)` \|", section, re.MULTILINE)) == taken


# --- diagram --------------------------------------------------------------------------------------------------------
def test_the_diagram_shows_the_imports() -> None:
    """The processes import `leeway` and not each other, and only `drift` imports Evidently."""
    drawn = structure.packages()
    assert "m_service --> m_leeway" in drawn
    assert not re.search(r"m_(service|leeway|leeway_telemetry) --> m_drift|m_drift --> m_service", drawn)
    assert re.findall(r"(\w+) -\.-> m_evidently", drawn) == ["m_drift"]


def test_transitive_arrows_are_left_out() -> None:
    """Of a → b → c and a → c only the last arrow is left out."""
    arrows = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")]
    assert structure._shortest(arrows) == [("a", "b"), ("a", "d"), ("b", "c")]


def test_an_import_cycle_is_an_error() -> None:
    """An import cycle is an error that names its modules."""
    with pytest.raises(ValueError, match="a, b"):
        structure._shortest([("a", "b"), ("b", "a"), ("c", "a")])


# --- tables ---------------------------------------------------------------------------------------------------------
def test_a_bar_does_not_break_a_table() -> None:
    """A bar in a cell stays inside it."""
    assert table(("a",), [("x | y",)]).splitlines()[-1] == r"| x \| y |"


def test_a_row_of_another_length_is_an_error() -> None:
    """A row with a missing cell is an error."""
    with pytest.raises(ValueError, match="2 cells"):
        table(("a", "b"), [("x",)])
