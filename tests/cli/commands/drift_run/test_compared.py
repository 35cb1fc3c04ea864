from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from typer.testing import Result

from cli.main import app
from leeway.data.population import population
from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import open_engine
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from tests.cli.commands.drift_run.place import CUSTOMERS, EVIDENTLY_LINE, LEEWAY_LINE, RUNNER, TURNED, WORSE, Place
from tests.cli.extracts import real_extracts

# --- two months ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def turned(place: Place) -> Result:
    """What is printed of a month whose labels turned, with its table."""
    return place.run("2026-01-31", TURNED)


def test_two_lines_come_first(turned: Result) -> None:
    """For people and scripts, exactly in their form; no feature drifts and the model is no better than a coin."""
    assert turned.exit_code == 0, turned.output
    first, second = turned.stdout.splitlines()[:2]
    plain, ours = EVIDENTLY_LINE.fullmatch(first), LEEWAY_LINE.fullmatch(second)
    assert plain is not None, first
    assert ours is not None, second
    assert (plain["decision"], plain["sign"]) == ("NO_ACTION", "<")
    assert (ours["covariate"], ours["performance"], ours["recommendation"]) == ("ok", "act", "RETRAIN")


def test_a_table_follows(turned: Result) -> None:
    """Each feature with what was found of it, and each question with its evidence."""
    after = turned.stdout.split("\n", 2)[2]
    headings = ("method", "score", "effective threshold", "drifted", "constant", "missing", "out of reference")
    assert [heading for heading in headings if heading not in after] == []
    assert [name for name in CHURN_SCHEMA.names if name not in after] == []
    assert "performance: act. ROC AUC" in after


def test_reports_are_where_the_line_says(place: Place, turned: Result) -> None:
    """Both files are in the folder that was given, named by the two dates."""
    told = EVIDENTLY_LINE.fullmatch(turned.stdout.splitlines()[0])
    assert told is not None
    stem = f"drift_2026-01-31_vs_{TURNED}"
    assert [told["html"], told["json"]] == [str(place.reports / f"{stem}.html"), str(place.reports / f"{stem}.json")]
    assert Path(told["html"]).stat().st_size > 1_000_000
    assert json.loads(Path(told["json"]).read_text())


def test_json_is_all_that_is_printed(place: Place) -> None:
    """With `--json` standard output is one document of schema 1, and with `--fail-on-drift` RETRAIN ends with 3."""
    result = place.run("2026-01-31", WORSE, "--json", "--fail-on-drift")
    document = json.loads(result.stdout)
    assert (document["schema"], document["decision"], document["recommendation"]) == (1, "RETRAIN", "RETRAIN")
    assert result.exit_code == 3


def test_without_a_bundle_two_quiet_lines(place: Place, tmp_path: Path) -> None:
    """The reference month sets the rules, performance is unknown, and RETRAIN alone is no failure."""
    result = place.run("2026-01-31", WORSE, "--quiet", bundle=tmp_path / "none")
    first, second = result.stdout.splitlines()
    ours = LEEWAY_LINE.fullmatch(second)
    assert EVIDENTLY_LINE.fullmatch(first), first
    assert ours is not None, second
    assert (ours["prediction"], ours["performance"], ours["recommendation"]) == ("unknown", "unknown", "RETRAIN")
    assert result.exit_code == 0


def test_markup_in_a_category_is_printed_as_it_is(place: Place) -> None:
    """A category comes from a client: brackets in it are no colours of ours."""
    engine, tables = open_engine(place.database_url), tables_for(CHURN_SCHEMA)
    people = population(1, customers=CUSTOMERS)
    people.columns["net_service"] = ["[red]Satellite[/red]"] * CUSTOMERS
    Snapshots(engine, tables).ingest(date(2026, 5, 31), people.user_ids, people.columns, None)
    engine.dispose()
    result = place.run("2026-01-31", "2026-05-31")
    assert result.stdout.count("[red]Satellite[/red]") == 2


# --- what was served ----------------------------------------------------------------------------------------------


def test_what_was_served_against_the_bundle(place: Place) -> None:
    """The last hour's predictions, compared with the bundle's reference; without labels there is no target drift."""
    result = place.run("bundle", "live", "--window", "1h", "--quiet")
    first, second = result.stdout.splitlines()
    assert "drift_bundle_vs_live.html" in first
    assert first.endswith("drift_share=0.00 < 0.30 (target_drift=n/a)")
    assert second == "[Leeway] quality ok, covariate ok, prediction ok, performance unknown -> NO_ACTION"
    assert result.exit_code == 0


def test_a_window_with_too_little_is_unknown(place: Place) -> None:
    """The line says why, and the exit code is 1: no comparison was made."""
    result = place.run("bundle", "live", "--window", "0.001s")
    assert result.stdout.splitlines()[0] == (
        "[Evidently] report_html=n/a report_json=n/a drift_share=n/a -> UNKNOWN"
        " 0 subjects are too few to compare; at least 200 are needed (target_drift=n/a)"
    )
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("from cli.main import app\ntry: app(['drift', '--help'])\nexcept SystemExit: pass", {"evidently", "pandas"}),
        ("import service.__main__", {"evidently", "drift"}),
    ],
    ids=["leeway drift --help", "the API"],
)
def test_evidently_is_imported_by_nobody_else(code: str, heavy: set[str]) -> None:
    """Its five seconds and its memory are paid where something is compared."""
    told = f"import sys\n{code}\nprint('imported:', sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "imported: []"


def test_the_real_months(tmp_path: Path) -> None:
    """One feature of fourteen drifts and the share is calm; the labels say that the model is no better than a coin."""
    extracts = real_extracts()
    where = ["--database-url", f"sqlite:///{tmp_path / 'leeway.db'}"]
    bundle = ["--bundle", str(tmp_path / "bundle")]
    for as_of, folder in (("2024-01-31", "month_000"), ("2024-02-29", "month_001")):
        assert RUNNER.invoke(app, ["ingest", "--as-of", as_of, str(extracts / folder), *where]).exit_code == 0
    assert RUNNER.invoke(app, ["train", "--as-of", "2024-01-31", *where, *bundle]).exit_code == 0
    command = ["drift", "run", "--reference", "2024-01-31", "--current", "2024-02-29", "--quiet", *where, *bundle]
    result = RUNNER.invoke(app, [*command, "--report-dir", str(tmp_path / "reports")])
    first, second = result.stdout.splitlines()
    plain, ours = EVIDENTLY_LINE.fullmatch(first), LEEWAY_LINE.fullmatch(second)
    assert plain is not None, first
    assert ours is not None, second
    assert (plain["share"], plain["decision"]) == ("0.07", "NO_ACTION")
    assert (ours["performance"], ours["recommendation"]) == ("act", "RETRAIN")
