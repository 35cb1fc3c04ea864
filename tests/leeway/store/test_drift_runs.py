from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from leeway.store.drift_runs import DriftLog, DriftLogError, DriftRun
from leeway.store.tables import Tables
from tests.leeway.store.records import NOON

RUN = DriftRun(
    run_id="1",
    finished_at=NOON,
    model_name="churn",
    model_version="v1",
    window_from=NOON - timedelta(minutes=15),
    window_to=NOON,
    rows=900,
    subjects=450,
    share=0.5,
    decision="RETRAIN",
    recommendation="INVESTIGATE",
    reason="Not yet confirmed.",
    result={"schema": 1, "share": 0.5},
    state={"confirmed": 1},
    trace_id=None,
)


@pytest.fixture
def runs(engine: sa.Engine, tables: Tables) -> DriftLog:
    """An empty drift log."""
    return DriftLog(engine, tables)


def test_a_run_comes_back_as_it_was_saved(runs: DriftLog) -> None:
    """Times stay aware, and the documents stay unchanged."""
    runs.save(RUN)
    assert runs.last("churn") == RUN


def test_the_last_run_is_the_newest_of_the_model(runs: DriftLog) -> None:
    """An older run and another model's do not count."""
    runs.save(replace(RUN, run_id="2", finished_at=NOON + timedelta(minutes=1)))
    runs.save(RUN)
    runs.save(replace(RUN, run_id="3", model_name="other", finished_at=NOON + timedelta(minutes=2)))
    found = runs.last("churn")
    assert found is not None
    assert found.run_id == "2"


def test_seen_skips_runs_without_a_result(runs: DriftLog) -> None:
    """The last run with a share is found behind newer ones that are UNKNOWN."""
    runs.save(RUN)
    runs.save(replace(RUN, run_id="2", finished_at=NOON + timedelta(minutes=1), share=None, recommendation="UNKNOWN"))
    found = runs.last("churn", seen=True)
    assert found is not None
    assert found.run_id == "1"


def test_without_runs_there_is_no_last(runs: DriftLog) -> None:
    """An empty table is not an error."""
    assert runs.last("churn") is None


def test_an_unreachable_database_is_a_drift_log_error(unreachable: sa.Engine, tables: Tables) -> None:
    """The driver's error is translated for writing and for reading."""
    runs = DriftLog(unreachable, tables)
    with pytest.raises(DriftLogError, match="unable to open"):
        runs.save(RUN)
    with pytest.raises(DriftLogError, match="unable to open"):
        runs.last("churn")
