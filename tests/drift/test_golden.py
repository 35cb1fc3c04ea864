"""`result.json` of whole runs, byte for byte as the files in `golden/`: the stored shape is a promise to readers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from drift.evaluation import evaluate, unknown_result
from drift.months import months
from drift.result import Reports, RunResult
from drift.verdicts.confirmation import Policy
from leeway.data.population import population
from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLabel
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from tests.drift.worlds import NOON, RATE, WINDOW_S, PlainPage, RememberingProbe, World, calm_rows, shifted_rows

GOLDEN = Path(__file__).with_name("golden")
JANUARY, FEBRUARY = date(2026, 1, 31), date(2026, 2, 28)


def normalised(text: str, version: str | None) -> str:
    """The text with a fixed run id and version, and floats to six decimals: the rest depends on the machine."""
    run_id = json.loads(text)["run_id"]
    text = text.replace(run_id, "01a20725-becc-73b9-bf77-f99f508bba04")
    if version is not None:
        text = text.replace(version, "2026-01-31-0a1b2c3d")
    return re.sub(r"-?\d+\.\d{7,}(?:e-?\d+)?", lambda found: repr(round(float(found[0]), 6)), text)


def run_of_worker(world: World) -> str:
    """Run one cycle, and return its `result.json`."""
    world.clock.forward(WINDOW_S)
    world.cycle(RememberingProbe())()
    (folder,) = world.run_folders()
    return (folder / "result.json").read_text(encoding="utf-8")


def calm(world: World, _bundle: Bundle) -> tuple[str, str | None]:
    """A window like the reference, and labels that agree with the model."""
    records = world.serve(calm_rows(RATE))
    labels = [PredictionLabel(each.prediction_id, each.prediction) for each in records]
    world.log.write_labels(labels, NOON)
    return run_of_worker(world), world.bundle.version


def drifting(world: World, _bundle: Bundle) -> tuple[str, str | None]:
    """One feature of three drifted, and a category is new."""
    rows = shifted_rows(RATE)
    rows.loc[:4, "c.x-y"] = "très haut"
    world.serve(rows)
    return run_of_worker(world), world.bundle.version


def too_few_rows(world: World, _bundle: Bundle) -> tuple[str, str | None]:
    """150 subjects where 200 are needed."""
    world.serve(calm_rows(150))
    return run_of_worker(world), world.bundle.version


def two_months(world: World, bundle: Bundle) -> tuple[str, str | None]:
    """Two calm months by the model's plan, with its scores and the labels."""
    return compared_months(world, bundle), bundle.version


def two_months_without_a_bundle(world: World, _bundle: Bundle) -> tuple[str, str | None]:
    """The same by the reference month's own plan."""
    return compared_months(world, None), None


def no_bundle(_world: World, _bundle: Bundle) -> tuple[str, str | None]:
    """A comparison that could not begin."""
    return as_text(unknown_result("bundle: no bundle found", Policy())), None


def compared_months(world: World, bundle: Bundle | None) -> str:
    """The result of comparing two ingested months of 300 customers."""
    engine = open_engine(f"sqlite:///{world.folder / 'months.db'}")
    tables = tables_for(CHURN_SCHEMA)
    create_tables(engine, tables)
    snapshots = Snapshots(engine, tables)
    for month, as_of in enumerate((JANUARY, FEBRUARY)):
        people = population(month, customers=300)
        snapshots.ingest(as_of, people.user_ids, people.columns, people.labels)
    inputs = months(snapshots, JANUARY, FEBRUARY, bundle)
    engine.dispose()
    paths = Reports("reports/drift_a_vs_b.html", "reports/drift_a_vs_b.json")
    policy = Policy().at_once()
    return as_text(evaluate(inputs, policy, min_subjects=200, reports=paths, make_page=PlainPage).result)


def as_text(result: RunResult) -> str:
    """The result as `result.json` holds it."""
    return result.to_file().decode()


@pytest.mark.parametrize("case", [calm, drifting, too_few_rows, two_months, two_months_without_a_bundle, no_bundle])
def test_the_stored_result_keeps_its_shape(
    case: Callable[[World, Bundle], tuple[str, str | None]], world: World, bundle: Bundle
) -> None:
    """Members, their order, their form and their values are those of the golden file."""
    found = normalised(*case(world, bundle))
    golden = GOLDEN / f"{case.__name__}.json"
    assert found == golden.read_text(encoding="utf-8")
