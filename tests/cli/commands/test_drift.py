from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import uuid_utils
from msgspec import structs
from typer.testing import CliRunner, Result

from cli.main import app
from drift.result import evidently_line, leeway_line, read_result
from leeway.data.population import population
from leeway.model.bundle import Bundle
from leeway.model.manifest import MANIFEST
from leeway.schema import CHURN_SCHEMA, Value
from leeway.store.delta import DeltaLog, create_delta_tables
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLabel, PredictionLog
from leeway.store.record import PredictionRecord
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from tests.cli.extracts import real_extracts

RUNNER = CliRunner()
CUSTOMERS = 700
CALM, TURNED, WORSE = "2026-02-28", "2026-03-31", "2026-04-30"
EVIDENTLY_LINE = re.compile(
    r"\[Evidently\] report_html=(?P<html>\S+\.html) report_json=(?P<json>\S+\.json) drift_share=(?P<share>\d\.\d\d)"
    r" -> (?P<decision>NO_ACTION|RETRAIN) drift_share=(?P=share) (?P<sign><|>=) 0\.30 \(target_drift=\d\.\d{4}\)"
)
LEEWAY_LINE = re.compile(
    r"\[Leeway\] quality (?P<quality>\w+), covariate (?P<covariate>\w+), prediction (?P<prediction>\w+),"
    r" performance (?P<performance>\w+)(?: \(ROC AUC \d\.\d\d -> \d\.\d\d, \d\.\d\d\.\.\.\d\.\d\d on [\d,]+ labels\))?"
    r" -> (?P<recommendation>NO_ACTION|INVESTIGATE|RETRAIN|UNKNOWN)"
)


@pytest.mark.parametrize("command", [("worker",), ("run", "--reference", "bundle", "--current", "live")])
def test_predictions_in_delta_tables_need_a_source(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The database would look as if there had been no predictions."""
    monkeypatch.setenv("LEEWAY_LOG", "delta:lake")
    done = RUNNER.invoke(app, ["drift", *command])
    assert (done.exit_code, "--source delta:lake" in done.stderr) == (2, True)


@dataclass(frozen=True)
class Installation:
    """A database with four months and half an hour of predictions, a bundle, and a folder for reports."""

    database_url: str
    bundle: Path
    reports: Path

    def run(self, reference: str, current: str, *more: str, bundle: Path | None = None) -> Result:
        """Run `leeway drift run`."""
        where = ("--database-url", self.database_url, "--bundle", str(bundle or self.bundle))
        command = ["drift", "run", "--reference", reference, "--current", current, *where]
        return RUNNER.invoke(app, [*command, "--report-dir", str(self.reports), *more])


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[Installation]:
    """Months like the training data (two), with concept drift, and with a worse network; and predictions of today."""
    folder = tmp_path_factory.mktemp("drift-run")
    url = f"sqlite:///{folder / 'leeway.db'}"
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)
    create_tables(engine, tables)
    months = {"2026-01-31": {}, CALM: {}, TURNED: {"concept_drift": 1.0}, WORSE: {"covariate_drift": 1.0}}
    for month, (as_of, drift) in enumerate(months.items()):
        people = population(month, customers=CUSTOMERS, **drift)  # type: ignore[arg-type]  # of months only
        Snapshots(engine, tables).ingest(date.fromisoformat(as_of), people.user_ids, people.columns, people.labels)
    served(bundle, PredictionLog(engine, tables))
    yield Installation(url, bundle.folder, folder / "reports")
    engine.dispose()


def served(bundle: Bundle, log: PredictionLog, **changes: Value) -> None:
    """Record predictions of today; see `predictions`."""
    log.write_batch(predictions(bundle, **changes))


def predictions(bundle: Bundle, **changes: Value) -> list[PredictionRecord]:
    """Predictions of today, for customers like those of the training data, with these values for everybody."""
    calm = population(1, customers=CUSTOMERS)
    rows = [calm.row(number) | changes for number in range(CUSTOMERS)]
    return [
        PredictionRecord(
            str(uuid_utils.uuid7()),
            datetime.now(UTC),
            bundle.version,
            None,
            None,
            bundle.schema.row(row),
            score,
            int(score >= 0.5),
            0,
            None,
            0.0001,
            None,
            None,
        )
        for row, score in zip(rows, bundle.score(rows).tolist(), strict=True)
    ]


JSON = ("--json", "--no-report")


def predictions_of_tests(records: list[PredictionRecord]) -> list[PredictionRecord]:
    """Five synthetic requests."""
    return [structs.replace(each, prediction_id=str(uuid_utils.uuid7()), is_synthetic=True) for each in records[:5]]


# --- two months ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def turned(installation: Installation) -> Result:
    """The output for a month with concept drift, with its table."""
    return installation.run("2026-01-31", TURNED)


def test_two_lines_come_first(turned: Result) -> None:
    """They keep their form, for scripts; no feature drifts, but the model is no better than chance."""
    assert turned.exit_code == 0, turned.output
    first, second = turned.stdout.splitlines()[:2]
    plain, ours = EVIDENTLY_LINE.fullmatch(first), LEEWAY_LINE.fullmatch(second)
    assert plain is not None, first
    assert ours is not None, second
    assert (plain["decision"], plain["sign"]) == ("NO_ACTION", "<")
    assert (ours["covariate"], ours["performance"], ours["recommendation"]) == ("ok", "act", "RETRAIN")


def test_a_table_follows(turned: Result) -> None:
    """It has each feature's values, and each question with its evidence."""
    after = turned.stdout.split("\n", 2)[2]
    headings = ("method", "score", "effective threshold", "drifted", "constant", "missing", "out of reference")
    assert [heading for heading in headings if heading not in after] == []
    assert [name for name in CHURN_SCHEMA.names if name not in after] == []
    assert "performance: act. ROC AUC" in after


def test_reports_are_at_the_printed_paths(installation: Installation, turned: Result) -> None:
    """Both files are in the given folder, named by the two dates."""
    told = EVIDENTLY_LINE.fullmatch(turned.stdout.splitlines()[0])
    assert told is not None
    stem = f"drift_2026-01-31_vs_{TURNED}"
    assert [told["html"], told["json"]] == [
        str(installation.reports / f"{stem}.html"),
        str(installation.reports / f"{stem}.json"),
    ]
    assert Path(told["html"]).stat().st_size > 1_000_000
    assert json.loads(Path(told["json"]).read_text())


def test_json_is_all_that_is_printed(installation: Installation) -> None:
    """With `--json` standard output is one document of schema 1, and with `--fail-on-drift` RETRAIN ends with 3."""
    result = installation.run("2026-01-31", WORSE, "--json", "--fail-on-drift")
    document = json.loads(result.stdout)
    assert (document["schema"], document["decision"], document["recommendation"]) == (1, "RETRAIN", "RETRAIN")
    assert result.exit_code == 3


def test_the_result_is_also_written_to_a_file(installation: Installation, tmp_path: Path) -> None:
    """With --result the lines are printed as usual, and the file holds what --json prints."""
    file = tmp_path / "result.json"
    result = installation.run("2026-01-31", CALM, "--no-report", "--quiet", "--result", str(file))
    assert result.stdout.splitlines() == [evidently_line(found := read_result(file.read_bytes())), leeway_line(found)]


def test_a_result_that_cannot_be_written_is_an_error(installation: Installation, tmp_path: Path) -> None:
    """Exit code 1, and the message names the file."""
    file = tmp_path / "none" / "result.json"
    result = installation.run("2025-12-31", CALM, "--result", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(file) in result.stderr


def test_evidentlys_page_is_optional(installation: Installation, turned: Result) -> None:
    """With --no-report the lines name no report, and the verdicts are the same."""
    before = sorted(installation.reports.iterdir())
    plain = installation.run("2026-01-31", TURNED, "--no-report", "--quiet")
    assert "report_html=n/a report_json=n/a" in plain.stdout
    assert plain.stdout.splitlines()[1] == turned.stdout.splitlines()[1]
    assert sorted(installation.reports.iterdir()) == before


def test_a_bundle_is_optional(installation: Installation, tmp_path: Path) -> None:
    """Without one, the reference month sets the thresholds, performance is unknown; RETRAIN alone exits with 0."""
    result = installation.run("2026-01-31", WORSE, "--quiet", bundle=tmp_path / "none")
    first, second = result.stdout.splitlines()
    ours = LEEWAY_LINE.fullmatch(second)
    assert EVIDENTLY_LINE.fullmatch(first), first
    assert ours is not None, second
    assert (ours["prediction"], ours["performance"], ours["recommendation"]) == ("unknown", "unknown", "RETRAIN")
    assert result.exit_code == 0


def test_markup_in_a_category_is_printed(installation: Installation) -> None:
    """Brackets in a category are printed, not interpreted as markup."""
    engine, tables = open_engine(installation.database_url), tables_for(CHURN_SCHEMA)
    people = population(1, customers=CUSTOMERS)
    people.columns["net_service"] = ["[red]Satellite[/red]"] * CUSTOMERS
    Snapshots(engine, tables).ingest(date(2026, 5, 31), people.user_ids, people.columns, None)
    engine.dispose()
    result = installation.run("2026-01-31", "2026-05-31")
    assert result.stdout.count("[red]Satellite[/red]") == 2


# --- whether there is something to compare ------------------------------------------------------------------------


def check(installation: Installation, reference: str, current: str) -> Result:
    """Run `leeway drift check`."""
    where = ("--database-url", installation.database_url)
    return RUNNER.invoke(app, ["drift", "check", "--reference", reference, "--current", current, *where])


def test_ingested_months_are_checked(installation: Installation) -> None:
    """A line for each month, with the number of customers."""
    result = check(installation, "2026-01-31", CALM)
    assert result.stdout.splitlines() == [f"{day}: {CUSTOMERS} customers" for day in ("2026-01-31", CALM)]
    assert result.exit_code == 0


def test_a_missing_month_fails_the_check(installation: Installation) -> None:
    """Exit code 1; the message lists the loaded months."""
    result = check(installation, "2026-01-31", "2026-12-31")
    assert result.exit_code == 1
    assert "no snapshots as of 2026-12-31; loaded: 2026-01-31, " in result.stderr


# --- served predictions -------------------------------------------------------------------------------------------


def test_served_predictions_are_compared_with_the_bundle(installation: Installation) -> None:
    """The last hour's predictions are compared with the bundle's reference; without labels target drift is n/a."""
    result = installation.run("bundle", "live", "--window", "1h", "--quiet")
    first, second = result.stdout.splitlines()
    assert "drift_bundle_vs_live.html" in first
    assert first.endswith("drift_share=0.00 < 0.30 (target_drift=n/a)")
    assert second == "[Leeway] quality ok, covariate ok, prediction ok, performance unknown -> NO_ACTION"
    assert result.exit_code == 0


def test_a_window_with_too_little_is_unknown(installation: Installation) -> None:
    """The line has the reason, and the exit code is 1."""
    result = installation.run("bundle", "live", "--window", "0.001s")
    assert result.stdout.splitlines()[0] == (
        "[Evidently] report_html=n/a report_json=n/a drift_share=n/a -> UNKNOWN"
        " 0 subjects are too few to compare; at least 200 are needed (target_drift=n/a)"
    )
    assert result.exit_code == 1


@pytest.fixture
def served_today(tmp_path: Path, bundle: Bundle) -> Iterator[tuple[Installation, PredictionLog]]:
    """An installation without months and predictions, and its log."""
    url = f"sqlite:///{tmp_path / 'leeway.db'}"
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)
    create_tables(engine, tables)
    yield Installation(url, bundle.folder, tmp_path / "reports"), PredictionLog(engine, tables)
    engine.dispose()


def test_a_value_beyond_any_histogram_is_compared(
    served_today: tuple[Installation, PredictionLog], bundle: Bundle
) -> None:
    """9999999999999999 throughout the window: the run is made, quality acts on it, and the rest is judged."""
    installation, log = served_today
    served(bundle, log, monthly_fee=9999999999999999)
    result = installation.run("bundle", "live")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "quality act, covariate watch" in result.stdout.splitlines()[1]
    assert "quality: act. monthly_fee is 1e+16 in every row (never in the reference)." in result.stdout
    assert "1 of 14 features drifted" in result.stdout


def test_a_value_that_no_kind_allows_is_unknown(
    served_today: tuple[Installation, PredictionLog], bundle: Bundle
) -> None:
    """SQLite stores text in a column of numbers: the result is UNKNOWN with the reason, without a traceback."""
    installation, log = served_today
    served(bundle, log)
    with sqlite3.connect(installation.database_url.removeprefix("sqlite:///")) as database:
        database.execute(f"UPDATE {tables_for(CHURN_SCHEMA).predictions.name} SET skips_7d = 'many'")
    database.close()
    result = installation.run("bundle", "live")
    assert "-> UNKNOWN the comparison failed: ValueError: " in result.stdout.splitlines()[0]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("from cli.main import app\ntry: app(['drift', '--help'])\nexcept SystemExit: pass", {"evidently", "pandas"}),
        ("import service.__main__", {"evidently", "drift"}),
    ],
    ids=["leeway drift --help", "the API"],
)
def test_evidently_is_imported_for_comparisons_only(code: str, heavy: set[str]) -> None:
    """Importing it takes five seconds and much memory."""
    told = f"import sys\n{code}\nprint('imported:', sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "imported: []"


def test_the_real_months(tmp_path: Path) -> None:
    """One feature of fourteen drifts, below the threshold; labels show a model that is no better than chance."""
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


def test_a_month_that_was_never_ingested_is_unknown(installation: Installation) -> None:
    """Both lines are printed, the reason lists the loaded months, and the exit code is 1."""
    result = installation.run("2025-12-31", CALM)
    first, second = result.stdout.splitlines()
    assert "drift_share=n/a -> UNKNOWN no snapshots as of 2025-12-31; loaded: 2026-01-31, " in first
    assert second == ("[Leeway] quality unknown, covariate unknown, prediction unknown, performance unknown -> UNKNOWN")
    assert result.exit_code == 1


def test_unknown_results_are_documents_too(installation: Installation) -> None:
    """With `--json` an unknown result has the same shape."""
    result = installation.run("2025-12-31", CALM, "--json")
    document = json.loads(result.stdout)
    assert (document["schema"], document["decision"], document["share"]) == (1, "UNKNOWN", None)
    assert result.exit_code == 1


@pytest.mark.parametrize("windows", [("2026-01-31", CALM), ("bundle", "live")], ids=["months", "live"])
def test_a_damaged_bundle_is_unknown(installation: Installation, tmp_path: Path, windows: tuple[str, str]) -> None:
    """A damaged bundle is not used: the result is UNKNOWN and names it."""
    damaged = tmp_path / "bundle"
    damaged.mkdir()
    for file in installation.bundle.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / MANIFEST).write_text("{")
    result = installation.run(*windows, "--quiet", bundle=damaged)
    assert "UNKNOWN" in result.stdout.splitlines()[0]
    assert str(damaged) in result.stdout.splitlines()[0]
    assert result.exit_code == 1


def test_live_without_a_bundle_says_what_to_do(installation: Installation, tmp_path: Path) -> None:
    """Without a bundle there is no reference: the result is UNKNOWN, and says to train first."""
    result = installation.run("bundle", "live", bundle=tmp_path / "none")
    assert "-> UNKNOWN" in result.stdout
    assert "train" in result.stdout
    assert result.exit_code == 1


def test_an_unusable_folder_is_an_error(installation: Installation, tmp_path: Path) -> None:
    """One plain line on standard error, no traceback, exit code 1."""
    (tmp_path / "file").write_text("")
    where = ("--database-url", installation.database_url, "--bundle", str(installation.bundle))
    command = ["drift", "run", "--reference", "2026-01-31", "--current", CALM, "--report-dir", str(tmp_path / "file")]
    result = RUNNER.invoke(app, [*command, *where])
    assert result.exit_code == 1
    assert result.stderr.startswith("leeway: ")
    assert str(tmp_path / "file") in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--reference", "yesterday", "--current", CALM],
            "'yesterday' is not a date: give two dates like",
        ),
        (["--reference", "2026-02-30", "--current", CALM], "'2026-02-30' is not a date"),
        (["--reference", "bundle", "--current", CALM], "'bundle' is not a date"),
        (["--reference", "2026-01-31", "--current", "live"], "'live' is not a date"),
        (["--reference", "bundle", "--current", "live", "--window", "soon"], "'soon' is not a valid length"),
        (["--reference", "bundle", "--current", "live", "--window", "0s"], "'0s' is not a valid length"),
        (["--reference", "bundle", "--current", "live", "--window", "-1h"], "'-1h' is not a valid length"),
        (["--reference", "bundle", "--current", "live", "--window", "999999999d"], "at most a year"),
    ],
)
def test_invalid_input_is_an_error(installation: Installation, arguments: list[str], message: str) -> None:
    """Exit code 2, one line on standard error, nothing on standard output."""
    where = ("--database-url", installation.database_url, "--bundle", str(installation.bundle))
    result = RUNNER.invoke(app, ["drift", "run", *arguments, *where])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_predictions_in_delta_tables_give_the_results_of_the_database(bundle: Bundle, tmp_path: Path) -> None:
    """With the mapping in docs/prediction-log.md; labels count, and the last one of a prediction."""
    pytest.importorskip("deltalake")
    engine, tables = open_engine(f"sqlite:///{tmp_path / 'leeway.db'}"), tables_for(CHURN_SCHEMA)
    records = predictions(bundle)
    in_database, lake = PredictionLog(engine, tables), DeltaLog(str(tmp_path / "lake"), engine, tables)
    create_delta_tables(str(tmp_path / "lake"), engine, CHURN_SCHEMA)
    in_database.write_batch(records)
    lake.write_batch([*records, *predictions_of_tests(records)], "segment", range(1, len(records) + 6))
    labels = [PredictionLabel(each.prediction_id, number % 2) for number, each in enumerate(records)]
    for given in ([PredictionLabel(each.prediction_id, 1) for each in labels], labels):
        in_database.write_labels(given, datetime.now(UTC))
        if given is not labels:
            lake.move_labels()
    served_run = Installation(str(engine.url), bundle.folder, tmp_path / "reports").run("bundle", "live", *JSON)
    lake.move_labels()
    documented = (Path(__file__).parents[3] / "docs" / "prediction-log.md").read_text(encoding="utf-8")
    (tmp_path / "source.yaml").write_text(documented.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    more = ("--source", f"delta:{tmp_path / 'lake'}", "--mapping", str(tmp_path / "source.yaml"))
    lake_run = Installation(str(engine.url), bundle.folder, tmp_path / "reports").run("bundle", "live", *JSON, *more)
    engine.dispose()
    assert lake_run.exit_code == 0, lake_run.output
    expected, found = json.loads(served_run.stdout), json.loads(lake_run.stdout)
    scores = [{each["feature"]: each["score"] for each in run["features"]} for run in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-9)
    assert found["current"]["subjects"] == expected["current"]["subjects"] == len(records)
    assert found["verdicts"]["performance"] == expected["verdicts"]["performance"]
