from __future__ import annotations

import re

import pytest

from observability.grafana.generate.links import RUNBOOK
from observability.prometheus.generate.budgets import BUDGETS
from tests.config.boards import RUNBOOK_PAGES
from tests.config.promtool import ALERTS
from tests.config.series import ROOT

TEXT = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
OF_ALERTS = {title: body for title, body in SECTIONS.items() if title != "The objectives"}
PARTS = ["What it means.", "What to look at.", "What to do."]


def test_alerts_and_sections_match() -> None:
    """Each alert has a section, and each section has an alert."""
    assert set(OF_ALERTS) == set(ALERTS)


LONGEST_UID = 40  # of a dashboard in Grafana


@pytest.mark.parametrize("title", sorted(OF_ALERTS))
def test_alerts_have_a_page_in_grafana(title: str) -> None:
    """Each section is a page in Grafana, at the uid to which the alert links, with the section's queries as panels."""
    page = RUNBOOK_PAGES[title]
    assert page["uid"] == f"{RUNBOOK}{title}" == ALERTS[title]["annotations"]["runbook_url"].rpartition("/")[2]
    assert len(page["uid"]) <= LONGEST_UID
    text, *queries = page["panels"]
    assert "**What to do.**" in text["options"]["content"]
    assert all(each["targets"][0]["expr"] in OF_ALERTS[title] for each in queries)
    assert queries


def test_pages_have_an_alert() -> None:
    """There is no page of an alert that no longer exists."""
    assert set(RUNBOOK_PAGES) == set(ALERTS)


@pytest.mark.parametrize("title", sorted(OF_ALERTS))
def test_sections_have_three_parts(title: str) -> None:
    """Each section says what the alert means, what to look at (with a query), and what to do."""
    assert re.findall(r"^\*\*(.+?)\*\*", OF_ALERTS[title], re.MULTILINE) == PARTS
    assert "```promql" in OF_ALERTS[title]


def test_links_work() -> None:
    """Links to other sections work."""
    anchors = re.findall(r"\]\(#(.+?)\)", TEXT)
    assert anchors
    assert set(anchors) <= {title.lower() for title in OF_ALERTS}


def test_files_exist() -> None:
    """Each file that the page names exists."""
    files = re.findall(r"`(observability/(?:prometheus|alertmanager)/[\w./-]+)`", TEXT)
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("window", BUDGETS)
def test_burn_rates_are_the_rules(window: str) -> None:
    """The table of burn-rate alerts matches the generated rules."""
    budget = BUDGETS[window]
    column = 2 if window == "1d" else 3
    for alarm in budget.alarms:
        (row,) = re.findall(rf'^\| `burn="{alarm.name}"` (.*)\|$', TEXT, re.MULTILINE)
        stated = row.split("|")[column].strip()
        assert stated == f"{alarm.spends * 100:g} % spent: burn rate {budget.burn_rate(alarm):.3g}"
