from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from drift.evaluation import evaluate, unknown_result
from drift.inputs import ComparisonInputs, load_active_bundle, read_window
from drift.months import months
from drift.result import Model, Reports, RunResult, TargetDifference, Window, read_result
from drift.verdicts.confirmation import Policy
from leeway.data.population import population
from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.snapshots import Month, Snapshots, UnknownMonth
from leeway.store.tables import tables_for
from tests.drift.worlds import NOON, RATE, WINDOW_S, PlainPage, World, shifted_rows

JANUARY, FEBRUARY, TURNED, WORSE = date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)
CUSTOMERS = 700


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshots]:
    """Four months: two without drift, one with concept drift, one with covariate drift and without labels."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('months') / 'leeway.db'}")
    tables = tables_for(CHURN_SCHEMA)
    create_tables(engine, tables)
    store = Snapshots(engine, tables)
    for month, (as_of, drift) in enumerate(
        {JANUARY: {}, FEBRUARY: {}, TURNED: {"concept_drift": 1}, WORSE: {"covariate_drift": 1}}.items()
    ):
        people = population(month, customers=CUSTOMERS, **drift)
        store.ingest(as_of, people.user_ids, people.columns, None if as_of == WORSE else people.labels)
    yield store
    engine.dispose()


def compared(inputs: ComparisonInputs, min_subjects: int = 200) -> RunResult:
    """The result of a single comparison, without Evidently."""
    paths = Reports("page.html", "figures.json")
    policy = Policy().at_once()
    return evaluate(inputs, policy, min_subjects=min_subjects, reports=paths, make_page=PlainPage).result


def states(result: RunResult) -> list[str]:
    """The four verdicts."""
    return [each.state for each in result.verdicts.values()]


def test_two_months_without_drift_need_no_action(snapshots: Snapshots, bundle: Bundle) -> None:
    """With a bundle all four verdicts are ok."""
    result = compared(months(snapshots, JANUARY, FEBRUARY, bundle))
    assert (states(result), result.recommendation) == (["ok"] * 4, "NO_ACTION")
    assert result.performance.labels == result.target.labels == CUSTOMERS
    assert result.model.version == bundle.version


def test_concept_drift_asks_for_retraining(snapshots: Snapshots, bundle: Bundle) -> None:
    """No feature drifts and the model is no better than chance: performance is act, RETRAIN."""
    result = compared(months(snapshots, JANUARY, TURNED, bundle))
    assert (states(result)[1], states(result)[3]) == ("ok", "act")
    assert (result.decision, result.recommendation) == ("NO_ACTION", "RETRAIN")


def test_one_comparison_decides_at_once(snapshots: Snapshots, bundle: Bundle) -> None:
    """A share above its threshold is a RETRAIN: there is no second window to confirm it."""
    result = compared(months(snapshots, JANUARY, WORSE, bundle))
    assert (result.decision, result.recommendation) == ("RETRAIN", "RETRAIN")


def test_a_month_without_labels_has_no_performance(snapshots: Snapshots, bundle: Bundle) -> None:
    """Performance is unknown and the target's difference is None, never 0."""
    result = compared(months(snapshots, JANUARY, WORSE, bundle))
    assert states(result)[3] == "unknown"
    assert result.target == TargetDifference()


def test_without_a_bundle_the_reference_month_sets_the_rules(snapshots: Snapshots) -> None:
    """Features are compared by the same methods; prediction and performance are unknown, target drift is known."""
    result = compared(months(snapshots, JANUARY, FEBRUARY, None))
    assert states(result) == ["ok", "ok", "unknown", "unknown"]
    assert result.model == Model()
    assert {each.method for each in result.features} == {"wasserstein", "jensenshannon"}
    assert result.target.difference is not None
    assert result.target.difference < 0.05


class InSmallParts(Snapshots):
    """Reads a hundred customers at a time."""

    def parts(self, as_of: date, size: int = 100) -> Iterator[Month]:
        """See the base class."""
        return super().parts(as_of, size)


def test_months_are_read_in_parts(snapshots: Snapshots, bundle: Bundle) -> None:
    """Values, scores and labels of all parts count: the result is that of the months in one part."""
    in_parts = InSmallParts(snapshots.engine, tables_for(CHURN_SCHEMA))
    assert len(list(in_parts.parts(JANUARY))) == CUSTOMERS / 100
    inputs = months(in_parts, JANUARY, TURNED, bundle)
    whole, divided = compared(months(snapshots, JANUARY, TURNED, bundle)), compared(inputs)
    assert divided.features == whole.features
    assert divided.prediction.score == pytest.approx(whole.prediction.score, abs=1e-6)
    assert divided.performance.labels == whole.performance.labels == CUSTOMERS
    assert inputs.sample()["monthly_fee"].size == CUSTOMERS


def test_an_unknown_month_is_an_error(snapshots: Snapshots, bundle: Bundle) -> None:
    """The message lists the ingested months."""
    with pytest.raises(UnknownMonth, match=r"no snapshots as of 2025-12-31; loaded: 2026-01-31, "):
        months(snapshots, date(2025, 12, 31), FEBRUARY, bundle)


def test_the_windows_have_their_dates(snapshots: Snapshots, bundle: Bundle) -> None:
    """An ingested month starts and ends with its date, and each customer is a row and a subject."""
    result = compared(months(snapshots, JANUARY, FEBRUARY, bundle))
    assert result.reference == Window("2026-01-31", "2026-01-31", CUSTOMERS, CUSTOMERS)
    assert result.current == Window("2026-02-28", "2026-02-28", CUSTOMERS, CUSTOMERS)


def test_the_result_names_the_reports(snapshots: Snapshots, bundle: Bundle) -> None:
    """A comparison has Evidently's reports, and the result says where they are."""
    assert compared(months(snapshots, JANUARY, FEBRUARY, bundle)).reports == Reports("page.html", "figures.json")


def test_too_few_customers_are_unknown(snapshots: Snapshots, bundle: Bundle) -> None:
    """Neither a share nor a report, and the reason gives both numbers."""
    result = compared(months(snapshots, JANUARY, FEBRUARY, bundle), min_subjects=1_000)
    assert (result.decision, result.share, result.reports) == ("UNKNOWN", None, Reports())
    assert "700 subjects are too few to compare; at least 1,000 are needed" in result.reason


def test_served_predictions_are_compared_with_the_bundle(world: World) -> None:
    """The last window against the reference, decided at once; the worker's runs are not changed."""
    world.serve(shifted_rows(RATE))
    active = load_active_bundle(world.bundle.folder, world.engine)
    end = NOON + timedelta(seconds=WINDOW_S)
    result = compared(read_window(active, NOON, end, max_labels=2_000))
    assert (result.decision, result.recommendation) == ("RETRAIN", "RETRAIN")
    assert (result.current.rows, result.reference.rows) == (RATE, 400)
    assert world.runs() == []


def test_a_comparison_that_could_not_start_has_a_complete_result(tmp_path: Path) -> None:
    """UNKNOWN with its reason, readable in both forms."""
    result = unknown_result(f"{tmp_path} holds no bundle", Policy())
    assert read_result(msgspec.to_builtins(result)) == read_result(result.to_file()) == result
    assert (result.recommendation, result.reason) == ("UNKNOWN", f"{tmp_path} holds no bundle")
