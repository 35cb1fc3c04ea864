"""A drift worker over a real database, a small model and its own clock, without Evidently by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
import uuid_utils
from sklearn.linear_model import LogisticRegression

from drift.evaluation import MakePage
from drift.inputs import BundleReloader, ServedPredictions
from drift.report.folder import ReportFolder
from drift.result import RunResult
from drift.telemetry.gauges import DriftGauges
from drift.telemetry.otel import OTelDriftProbe
from drift.telemetry.probe import DriftProbe, RunProbe
from drift.verdicts.confirmation import Policy
from drift.webhook import Webhook
from drift.worker import Cycle
from leeway.data.tabular import typed_frame
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.sklearn import encode_frame
from leeway.schema import CHURN_SCHEMA
from leeway.store.drift_runs import DriftLog
from leeway.store.engine import create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from leeway.telemetry.instruments import observe
from leeway.telemetry.providers import ProcessIdentity
from tests.leeway.model.bundles import fitted, small_bundle, some_rows
from tests.telemetry import Telemetry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that tests set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def seconds(self) -> float:
        """The same as Unix time."""
        return self.now.timestamp()

    def forward(self, seconds: float) -> None:
        """Move the clock; a negative number sets it back."""
        self.now += timedelta(seconds=seconds)


class RememberingProbe(DriftProbe, RunProbe):
    """Observes the worker and each of its runs, and remembers what it observed."""

    def __init__(self) -> None:
        self.results: list[RunResult] = []
        self.unknowns: list[tuple[str, str]] = []
        self.restorations: list[RunResult] = []
        self.ended: list[str] = []

    @contextmanager
    def run(self, run_id: str, start: datetime, end: datetime) -> Iterator[RememberingProbe]:  # noqa: ARG002 (the base class's)
        """The run's recommendation, or its kind of UNKNOWN, is appended to `ended`."""
        before = len(self.results)
        yield self
        self.ended.append(self.results[-1].recommendation if len(self.results) > before else self.unknowns[-1][0])

    def restored(self, result: RunResult, finished_at: datetime) -> None:  # noqa: ARG002 (as above)
        """Remember it."""
        self.restorations.append(result)

    def finished(self, result: RunResult) -> None:
        """Remember it."""
        self.results.append(result)

    def unknown(self, kind: str, reason: str) -> None:
        """Remember both."""
        self.unknowns.append((kind, reason))


class PlainPage:
    """Stands for Evidently's page, which takes a second."""

    def __init__(self, *_arguments: object) -> None: ...

    def write_html(self, path: Path) -> None:
        """A page."""
        path.write_text("<p>a page</p>")

    def write_json(self, path: Path) -> None:
        """Its figures."""
        path.write_text("{}")


def calm_rows(count: int, seed: int = 2) -> pd.DataFrame:
    """Rows like the small model's reference."""
    return some_rows(count, seed)[0]


def shifted_rows(count: int, seed: int = 2) -> pd.DataFrame:
    """The same ten years older: one feature of three drifted."""
    frame = calm_rows(count, seed)
    return frame.assign(age=frame["age"] + 10)


WINDOW_S, INTERVAL_S = 900, 60
IDENTITY = ProcessIdentity("leeway-drift", "1.2.3", "drift")
RATE = 300
"""Subjects in a window."""


@dataclass
class World:
    """A bundle, a database, a report folder and a clock, for the worker's cycle."""

    folder: Path
    bundle: Bundle
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.database.parent.mkdir(exist_ok=True)
        self.engine = open_engine(f"sqlite:///{self.database}")
        self.tables = tables_for(self.bundle.schema)
        create_tables(self.engine, self.tables)
        self.reports = ReportFolder(self.folder / "reports")

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "database" / "leeway.db"

    @property
    def log(self) -> PredictionLog:
        """What was predicted."""
        return PredictionLog(self.engine, self.tables)

    def cycle(
        self,
        probe: DriftProbe,
        *,
        make_page: MakePage | None = PlainPage,
        policy: Policy | None = None,
        webhook: Webhook | None = None,
        engine: sa.Engine | None = None,
    ) -> Cycle:
        """A new worker's cycle: what it knows, it has from the database."""
        return Cycle(
            ServedPredictions(BundleReloader(self.bundle.folder, engine or self.engine), max_labels=2_000),
            DriftLog(engine or self.engine, tables_for(CHURN_SCHEMA)),
            self.reports,
            probe,
            window_s=WINDOW_S,
            min_subjects=200,
            policy=policy or Policy(),
            webhook=webhook,
            make_page=make_page,
            now=self.clock,
        )

    def serve(
        self,
        rows: pd.DataFrame,
        start_s: float = 0,
        seconds: float = WINDOW_S,
        *,
        traced: bool = False,
        **changes: object,
    ) -> list[PredictionRecord]:
        """Record predictions of these rows, evenly over `seconds` from `start_s` after noon; each is a subject.

        `traced` ones were sampled, their ids 1, 2, 3, …; `changes` are fields of the records.
        """
        frame = typed_frame(self.bundle.schema, {str(name): rows[name].tolist() for name in rows})
        scores = self.bundle.scorer.score(encode_frame(self.bundle.encoder, frame)).tolist()
        step = seconds / len(rows)
        records = [
            a_prediction(
                **{
                    "predicted_at": NOON + timedelta(seconds=start_s + place * step),
                    "model_version": self.bundle.version,
                    "features": self.bundle.schema.row({str(name): value for name, value in features.items()}),
                    "score": scores[place],
                    "prediction": int(scores[place] >= 0.5),
                }
                | ({"trace_id": f"{place + 1:032x}", "span_id": f"{place + 1:016x}"} if traced else {})
                | changes
            )
            for place, features in enumerate(rows.to_dict("records"))
        ]
        self.log.write_batch(records)
        return records

    def train_again(self) -> Bundle:
        """Write another model over the bundle's folder."""
        self.bundle = small_bundle(self.bundle.folder, fitted(LogisticRegression(C=0.1)), name=self.bundle.name)
        return self.bundle

    def runs(self) -> list[dict[str, Any]]:
        """The rows of `drift_runs`, oldest first."""
        table = self.tables.drift_runs
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(table).order_by(table.c.run_id)).mappings()
            return [dict(row) for row in found]

    def run_folders(self) -> list[Path]:
        """The folders of reports, temporaries included."""
        runs = self.reports.path / "runs"
        return sorted(runs.iterdir()) if runs.is_dir() else []


def a_prediction(**changes: Any) -> PredictionRecord:  # noqa: ANN401 (each field has its own type)
    """One record of a request without a customer, not sampled."""
    fields: dict[str, Any] = {
        "prediction_id": str(uuid_utils.uuid7()),
        "user_id": None,
        "as_of": None,
        "unusual_features": 0,
        "lookup_duration_s": None,
        "inference_duration_s": 0.0002,
        "trace_id": None,
        "span_id": None,
    }
    return PredictionRecord(**(fields | changes))


def a_probe(telemetry: Telemetry, bundle: Bundle, clock: Clock) -> OTelDriftProbe:
    """The worker's probe as its composition root makes it, with the test's clock."""
    gauges = DriftGauges(0.3, bundle.card, INTERVAL_S, clock.seconds)
    meter = telemetry.providers.meter
    for metric, read in gauges.readings().items():
        observe(meter, metric, read)
    return OTelDriftProbe(
        telemetry.providers.tracer, meter, gauges, lambda run_id: f"http://reports/runs/{run_id}/", clock.seconds
    )


@contextmanager
def a_world(folder: Path, model: Bundle) -> Iterator[World]:
    """Yield a world in `folder`, with a copy of the model's bundle."""
    copy = folder / "bundle"
    copy.mkdir(parents=True)
    for file in model.folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    world = World(folder, bundles.load(copy))
    yield world
    world.engine.dispose()


def repeat(world: World, cycle: Cycle, times: int, interval_s: float = 60) -> None:
    """Run the cycle this many times, each an interval later."""
    for _ in range(times):
        cycle()
        world.clock.forward(interval_s)
