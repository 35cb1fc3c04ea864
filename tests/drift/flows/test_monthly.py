from __future__ import annotations

import ast
import json
import sys
from datetime import date
from pathlib import Path

import pytest

from drift.flows import monthly
from drift.flows.monthly import CommandFailed, Comparison, ComparisonUnknown, FlowSettings, Months
from drift.sources.mapping import MAPPING_FILE, mapping_text
from tests.drift.documents import result
from tests.drift.sources import tables

LEEWAY = (sys.executable, "-m", "cli.main")
MONTHS = Months("2024-01-31", "2024-02-29")
PERIODS = Months(tables.REFERENCE, tables.CURRENT)
PAGE = "http://127.0.0.1:8001"
FLOWS = Path(monthly.__file__).parent


def comparison(**changes: object) -> Comparison:
    """A comparison with a report."""
    reports = {"html": "/reports/drift_a_vs_b.html", "json": "/reports/drift_a_vs_b.json"}
    return Comparison(MONTHS, ("one", "two"), result(reports=reports) | changes)


def said(*, code: int = 0, out: str = "", err: str = "") -> tuple[str, ...]:
    """A command that prints this and writes no result."""
    return (sys.executable, "-c", f"import sys; print({out!r}); sys.stderr.write({err!r}); sys.exit({code})")


@pytest.mark.parametrize(
    ("today", "of_source", "expected"),
    [
        (date(2024, 3, 1), False, ("2024-01-31", "2024-02-29")),
        (date(2024, 3, 31), False, ("2024-01-31", "2024-02-29")),
        (date(2025, 1, 2), False, ("2024-11-30", "2024-12-31")),
        (date(2024, 3, 2), True, ("2024-01-01..2024-01-31", "2024-02-01..2024-02-29")),
    ],
)
def test_the_last_full_month_is_the_default(today: date, *, of_source: bool, expected: tuple[str, str]) -> None:
    """It is compared with the month before it, on any day of the month."""
    found = Months.chosen(None, None, today=today, of_source=of_source)
    assert (found.reference, found.current) == expected


def test_a_chosen_month_is_kept() -> None:
    """The other one is still the default."""
    found = Months.chosen("2023-12-31", None, today=date(2024, 3, 2), of_source=False)
    assert found == Months("2023-12-31", "2024-02-29")


def test_settings_come_from_the_environment() -> None:
    """An empty variable counts as not set, as Compose passes those that the user did not set."""
    environment = {"REPORT_DIR": "/reports", "LEEWAY_WEBHOOK_URL": "", "LEEWAY_REPORTS_URL": PAGE}
    assert FlowSettings.read(environment) == FlowSettings(None, "/reports", PAGE, None)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A SQLite source, whose mapping is in the current folder; without Evidently's page, whose import takes seconds."""
    (tmp_path / MAPPING_FILE).write_text(mapping_text(tables.MAPPING, []))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEEWAY_DRIFT_REPORT", "off")
    return tables.sqlite_file(tmp_path / "shop.db", tables.rows(drifted_country="fr"))


def test_the_command_compares(shop: str, tmp_path: Path) -> None:
    """The installed command takes the flow's options: its two lines, its result, and the recommendation in it."""
    found = monthly.compare(PERIODS, shop, str(tmp_path / "reports"), command=LEEWAY)
    assert [line.split()[0] for line in found.lines] == ["[Evidently]", "[Leeway]"]
    assert found.lines[1].endswith(f"-> {monthly.judge(found)}")
    assert found.result["current"]["from"].startswith(tables.CURRENT.split("..")[0])


def test_the_command_checks_months(shop: str) -> None:
    """A line for each period, or the command's message for one without rows."""
    lines = monthly.check(PERIODS, shop, command=LEEWAY).splitlines()
    assert [line.split(": ")[0] for line in lines] == [PERIODS.reference, PERIODS.current]
    with pytest.raises(CommandFailed, match=r"leeway drift check ended with exit code 1: leeway: .*no rows in 2031"):
        monthly.check(Months(PERIODS.reference, "2031-01-01..2031-01-31"), shop, command=LEEWAY)


def test_a_text_with_a_hyphen_is_no_option() -> None:
    """A parameter that Prefect's page sends cannot add an option to the command."""
    assert Months("--help", "-q").options == ["--reference=--help", "--current=-q"]


def test_a_command_without_a_result_fails() -> None:
    """The error has what it printed on standard error, or else on standard output."""
    with pytest.raises(CommandFailed, match="leeway drift run ended with exit code 2: no such month"):
        monthly.compare(MONTHS, None, None, command=said(code=2, out="noise", err="no such month\n"))
    with pytest.raises(CommandFailed, match="exit code 1: noise"):
        monthly.compare(MONTHS, None, None, command=said(code=1, out="noise"))


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error does not show the command's options: a source may have a password."""
    monkeypatch.setattr(monthly, "TIMEOUT_S", 0.1)
    hangs = (sys.executable, "-c", "import time; time.sleep(60)")
    with pytest.raises(CommandFailed, match=r"^leeway drift check took longer than 0 s$"):
        monthly.check(MONTHS, "postgresql://reader:secret@db/shop", command=hangs)


def test_an_unknown_result_is_a_failure() -> None:
    """Its reason is the flow's."""
    with pytest.raises(ComparisonUnknown, match=r"^12 subjects are too few$"):
        monthly.judge(comparison(decision="UNKNOWN", recommendation="UNKNOWN", reason="12 subjects are too few"))


def test_the_artifact_has_the_verdicts_and_the_report() -> None:
    """Each verdict is a row of the table, and the link leads to the reports page."""
    text = monthly.markdown(comparison(), f"{PAGE}/")
    assert text.startswith("# 2024-02-29 against 2024-01-31: NO_ACTION\n")
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:] == [
        "| quality", "| covariate", "| prediction", "| performance",
    ]  # fmt: skip
    assert f"]({PAGE}/drift_a_vs_b.html)" in text


def test_without_a_page_the_artifact_has_the_path() -> None:
    """A comparison without a report says so."""
    assert "`/reports/drift_a_vs_b.html`" in monthly.markdown(comparison(), None)
    assert "There is no report." in monthly.markdown(comparison(reports={"html": None, "json": None}), PAGE)


def test_values_are_not_markup() -> None:
    """Evidence holds categories of the data: they neither break the table nor become links."""
    evidence = "new category <img src=x> | [click](http://evil)\nnext"
    verdicts = result()["verdicts"] | {"quality": {"state": "act", "evidence": evidence}}
    (row,) = [line for line in monthly.markdown(comparison(verdicts=verdicts), PAGE).splitlines() if "evil" in line]
    assert row == r"| quality | act | new category \<img src=x\> \| \[click\](http://evil) next |"


def test_the_event_is_a_cloud_event() -> None:
    """Its id is the run's; it has both months, the recommendation and the report's address."""
    found = monthly.event(comparison(), PAGE)
    assert (found["specversion"], found["type"]) == ("1.0", "io.leeway.drift.months.compared")
    assert found["id"] == result()["run_id"]
    assert found["data"]["reference"] == MONTHS.reference
    assert found["data"]["report_url"] == f"{PAGE}/drift_a_vs_b.html"
    assert json.loads(json.dumps(found)) == found


def test_a_failure_is_an_event_too() -> None:
    """It has the flow run's id and the reason."""
    found = monthly.failure_event("run-1", "no snapshots as of 2024-03-31")
    assert (found["id"], found["data"]) == ("run-1", {"reason": "no snapshots as of 2024-03-31"})
    assert found["type"] == "io.leeway.drift.months.failed"


def test_the_flow_imports_what_its_image_has() -> None:
    """Prefect's environment has the standard library, Prefect with httpx, and this folder; nothing else of Leeway."""
    imported = {
        name
        for path in FLOWS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert {"prefect", "drift.flows.monthly"} <= imported
    others = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in others if name.split(".")[0] not in {"prefect", "httpx"}} <= {
        "drift.flows", "drift.flows.monthly",
    }  # fmt: skip
