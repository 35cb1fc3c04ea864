from __future__ import annotations

import re

import pytest

from observability.prometheus.generate.budgets import BUDGETS
from tests.config.known_metrics import ROOT, complaints, known_series
from tests.config.rule_tests import ALERTS

TEXT = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
OF_ALERTS = {title: body for title, body in SECTIONS.items() if title != "The objectives"}
PARTS = ["What it means.", "What to look at.", "What to do."]
QUERIES = [
    query for block in re.findall(r"```promql\n(.*?)```", TEXT, re.DOTALL) for query in block.splitlines() if query
]


def test_every_alert_has_its_section_and_the_other_way_round() -> None:
    """Whoever is called finds what to do, and no section is about an alert that is gone."""
    assert set(OF_ALERTS) == set(ALERTS)


@pytest.mark.parametrize("title", sorted(OF_ALERTS))
def test_a_section_says_three_things(title: str) -> None:
    """What it means, what to look at, with at least one query, and what to do; in this order."""
    assert re.findall(r"^\*\*(.+?)\*\*", OF_ALERTS[title], re.MULTILINE) == PARTS
    assert "```promql" in OF_ALERTS[title]


@pytest.mark.parametrize("query", QUERIES)
def test_queries_name_what_exists(query: str) -> None:
    """A query that is copied from here at night names metrics and labels that exist."""
    assert complaints(query, known_series()) == []


def test_links_lead_somewhere() -> None:
    """A link to another section of the page is to one that is there."""
    anchors = re.findall(r"\]\(#(.+?)\)", TEXT)
    assert anchors
    assert set(anchors) <= {title.lower() for title in OF_ALERTS}


def test_files_that_are_named_exist() -> None:
    """A file of ours in `observability` that the page sends to is there."""
    files = re.findall(r"`(observability/(?:prometheus|alertmanager)/[\w./-]+)`", TEXT)
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("window", BUDGETS)
def test_burn_rates_are_those_of_the_rules(window: str) -> None:
    """The table of alarms says what the generated rules do."""
    budget = BUDGETS[window]
    column = 2 if window == "1d" else 3
    for alarm in budget.alarms:
        (row,) = re.findall(rf'^\| `burn="{alarm.name}"` (.*)\|$', TEXT, re.MULTILINE)
        stated = row.split("|")[column].strip()
        assert stated == f"{alarm.spends * 100:g} % spent: burn rate {budget.burn_rate(alarm):.3g}"
