from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from drift.comparison.evidently import Comparison
from drift.inputs import load_active_bundle
from drift.one_shot import ComparisonInputs, decide, live, months, unknown_result
from drift.report.page.summary import read_summary
from drift.verdicts.confirmation import Policy
from leeway.data.population import population
from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.snapshots import Snapshots, UnknownMonth
from leeway.store.tables import tables_for
from tests.drift.cycles import RATE, WINDOW_S, World
from tests.drift.standins import NOON, plain_compare, shifted_rows

JANUARY, FEBRUARY, TURNED, WORSE = date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)
CUSTOMERS = 700


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshots]:
    """Four months: calm, calm, labels turned against the model, and a network grown worse without labels."""
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


def decided(sides: ComparisonInputs, written: list[Comparison] | None = None, least: int = 200) -> dict[str, Any]:
    """The document of a comparison without Evidently; what would be written goes to `written`."""

    def write(comparison: Comparison) -> Mapping[str, str]:
        ([] if written is None else written).append(comparison)
        return {"html": "page.html", "json": "figures.json"}

    return decide(sides, Policy(), write, min_subjects=least, compare=plain_compare)


def states(document: Mapping[str, Any]) -> list[str]:
    """The four verdicts."""
    return [each["state"] for each in document["verdicts"].values()]


def test_two_calm_months_ask_for_nothing(snapshots: Snapshots, bundle: Bundle) -> None:
    """With a bundle all four questions are answered, and the answer is ok."""
    document = decided(months(snapshots, JANUARY, FEBRUARY, bundle))
    assert (states(document), document["recommendation"]) == (["ok"] * 4, "NO_ACTION")
    assert document["performance"]["labels"] == document["target"]["labels"] == CUSTOMERS
    assert document["model"]["version"] == bundle.version


def test_a_month_of_turned_labels_asks_for_training(snapshots: Snapshots, bundle: Bundle) -> None:
    """No feature drifts and the model is no better than a coin: performance acts, RETRAIN."""
    document = decided(months(snapshots, JANUARY, TURNED, bundle))
    assert (states(document)[1], states(document)[3]) == ("ok", "act")
    assert (document["decision"], document["recommendation"]) == ("NO_ACTION", "RETRAIN")


def test_one_comparison_decides_at_once(snapshots: Snapshots, bundle: Bundle) -> None:
    """A share over its threshold is a RETRAIN: there is no second window to confirm it."""
    document = decided(months(snapshots, JANUARY, WORSE, bundle))
    assert (document["decision"], document["recommendation"]) == ("RETRAIN", "RETRAIN")


def test_a_month_without_labels_has_no_performance(snapshots: Snapshots, bundle: Bundle) -> None:
    """Performance is unknown and the target's difference null, never 0."""
    document = decided(months(snapshots, JANUARY, WORSE, bundle))
    assert states(document)[3] == "unknown"
    assert document["target"] == {"difference": None, "labels": None}


def test_without_a_bundle_the_reference_month_sets_the_rules(snapshots: Snapshots) -> None:
    """Features are compared by the same methods; prediction and performance are unknown, target drift is not."""
    document = decided(months(snapshots, JANUARY, FEBRUARY, None))
    assert states(document) == ["ok", "ok", "unknown", "unknown"]
    assert document["model"] == {"name": None, "version": None}
    assert {each["method"] for each in document["features"]} == {"wasserstein", "jensenshannon"}
    assert document["target"]["difference"] < 0.05


def test_a_month_that_was_never_ingested_is_named(snapshots: Snapshots, bundle: Bundle) -> None:
    """The message says which there are."""
    with pytest.raises(UnknownMonth, match=r"no snapshots as of 2025-12-31; loaded: 2026-01-31, "):
        months(snapshots, date(2025, 12, 31), FEBRUARY, bundle)


def test_the_windows_are_told_by_their_dates(snapshots: Snapshots, bundle: Bundle) -> None:
    """An ingested month begins and ends with its date, and each customer is a row and a subject."""
    document = decided(months(snapshots, JANUARY, FEBRUARY, bundle))
    one = {"rows": CUSTOMERS, "subjects": CUSTOMERS}
    assert document["reference"] == {"from": "2026-01-31", "to": "2026-01-31", **one}
    assert document["current"] == {"from": "2026-02-28", "to": "2026-02-28", **one}


def test_reports_are_written_where_something_was_compared(snapshots: Snapshots, bundle: Bundle) -> None:
    """The document says where they are."""
    written: list[Comparison] = []
    document = decided(months(snapshots, JANUARY, FEBRUARY, bundle), written)
    assert len(written) == 1
    assert document["reports"] == {"html": "page.html", "json": "figures.json"}


def test_too_few_customers_are_unknown(snapshots: Snapshots, bundle: Bundle) -> None:
    """Nothing is written, the share is null, and the reason names both numbers."""
    written: list[Comparison] = []
    document = decided(months(snapshots, JANUARY, FEBRUARY, bundle), written, least=1_000)
    assert (document["decision"], document["share"], written) == ("UNKNOWN", None, [])
    assert "700 subjects are too few to compare; 1,000 are the least" in document["reason"]


def test_what_was_served_is_compared_with_the_bundle(world: World) -> None:
    """The last window against the reference, decided at once, and the worker's runs are left alone."""
    world.serve(shifted_rows(RATE))
    in_force = load_active_bundle(world.bundle.folder, world.engine)
    end = NOON + timedelta(seconds=WINDOW_S)
    document = decided(live(in_force, end, WINDOW_S, max_subjects=50_000, max_labels=2_000))
    assert (document["decision"], document["recommendation"]) == ("RETRAIN", "RETRAIN")
    assert (document["current"]["rows"], document["reference"]["rows"]) == (RATE, 400)
    assert world.runs() == []


def test_what_could_not_begin_has_a_whole_document(tmp_path: Path) -> None:
    """UNKNOWN with its reason, and every member of schema 1: the page can read it."""
    document = unknown_result(f"{tmp_path} holds no bundle", Policy())
    assert read_summary(document).recommendation == "UNKNOWN"
    assert document["reason"] == f"{tmp_path} holds no bundle"
