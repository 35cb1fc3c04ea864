from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
import uuid_utils

from leeway.data.population import population
from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.record import PredictionRecord
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from tests.cli.commands.drift_run.place import CALM, CUSTOMERS, TURNED, WORSE, Place


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[Place]:
    """Months: as trained on, calm, labels turned against the model, a network grown worse; predictions of today."""
    folder = tmp_path_factory.mktemp("drift-run")
    url = f"sqlite:///{folder / 'leeway.db'}"
    engine, tables = open_engine(url), tables_for(CHURN_SCHEMA)
    create_tables(engine, tables)
    months = {"2026-01-31": {}, CALM: {}, TURNED: {"concept_drift": 1.0}, WORSE: {"covariate_drift": 1.0}}
    for month, (as_of, drift) in enumerate(months.items()):
        people = population(month, customers=CUSTOMERS, **drift)  # type: ignore[arg-type]  # of months only
        Snapshots(engine, tables).ingest(date.fromisoformat(as_of), people.user_ids, people.columns, people.labels)
    calm = population(1, customers=CUSTOMERS)
    rows = [calm.row(number) for number in range(CUSTOMERS)]
    PredictionLog(engine, tables).write_batch(
        [
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
    )
    yield Place(url, bundle.folder, folder / "reports")
    engine.dispose()
