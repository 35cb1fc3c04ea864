from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from drift.__main__ import compose
from drift.report.folder import ReportFolder
from drift.result import RunResult, read_result
from drift.sources.arguments import ReferenceChoice
from drift.sources.mapping import mapping_text
from drift.sources.reference import SourceReference, keep_reference
from drift.sources.windows import SourceWindows
from drift.verdicts.confirmation import Policy
from drift.worker import Cycle
from leeway.schema import CHURN_SCHEMA
from leeway.settings import DriftSettings
from leeway.store.drift_runs import DriftLog
from leeway.store.engine import open_engine
from leeway.store.tables import tables_for
from tests.drift.sources import tables
from tests.drift.sources.conftest import LIMITS
from tests.drift.worlds import Clock, PlainPage, RememberingProbe


@dataclass
class Watch:
    """A worker's cycle over a source, on the evening of the last day, over ten days."""

    folder: Path
    engine: sa.Engine
    probe: RememberingProbe

    def cycle(self, url: str) -> Cycle:
        """A new worker's cycle."""
        log = DriftLog(self.engine, tables_for(CHURN_SCHEMA))
        windows = SourceWindows(
            url,
            tables.MAPPING,
            ReferenceChoice(str(self.folder / "october"), Path("none"), LIMITS),
            limits=LIMITS,
            timeout_s=5,
            drift_log=log,
            release_runs=self.engine.dispose,
        )
        return Cycle(
            windows,
            log,
            ReportFolder(self.folder / "reports"),
            self.probe,
            window_s=864_000,
            min_subjects=200,
            policy=Policy(),
            make_page=PlainPage,
            now=Clock(datetime(2026, 11, 30, 23, tzinfo=UTC)),
        )

    def results(self) -> list[RunResult]:
        """What is stored in Leeway's database."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT result FROM drift_runs ORDER BY run_id")).scalars()
            return [read_result(row.encode()) for row in rows]


@pytest.fixture
def watch(october: SourceReference, tmp_path: Path) -> Iterator[Watch]:
    """An empty database of runs, and the kept reference."""
    keep_reference(october, tmp_path / "october")
    engine = open_engine(f"sqlite:///{tmp_path / 'runs.db'}")
    yield Watch(tmp_path, engine, RememberingProbe())
    engine.dispose()


def test_the_worker_watches_a_source(watch: Watch, sqlite_url: str) -> None:
    """A run has verdicts, reports and links; it is stored with the foreign model in Leeway's database."""
    cycle = watch.cycle(sqlite_url)
    cycle()
    cycle()
    assert [each.recommendation for each in watch.probe.results] == ["INVESTIGATE", "INVESTIGATE"]
    stored = watch.results()
    assert stored == watch.probe.results
    assert (stored[0].model.name, stored[0].model.version) == ("shop", "7")
    assert stored[0].current.rows == 400
    assert (watch.folder / "reports" / "runs" / stored[0].run_id / "report.html").is_file()


def test_a_new_worker_continues(watch: Watch, sqlite_url: str) -> None:
    """After a restart the gauges have the last result of the foreign model."""
    watch.cycle(sqlite_url)()
    watch.cycle(sqlite_url)()
    assert watch.probe.restorations == watch.probe.results[:1]


def test_a_bad_source_is_unknown(watch: Watch, made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """With its reason; the next run tries again, and finds the source."""
    url = f"sqlite:///{tmp_path}/later.db"
    cycle = watch.cycle(url)
    cycle()
    assert watch.probe.unknowns == [("source", f"{url}: there is no such file")]
    tables.sqlite_file(tmp_path / "later.db", made)
    cycle()
    assert watch.probe.ended == ["source", "INVESTIGATE"]


def test_the_composition_root_reads_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`leeway drift worker --source`: the last days against a period of the same table."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    first = datetime.now(UTC).date() - timedelta(days=60)
    url = tables.sqlite_file(tmp_path / "shop.db", tables.rows(first=first))
    mapping = tmp_path / "source.yaml"
    calm = msgspec.structs.replace(tables.MAPPING, features={"vip": "vip", "country": "country"})
    mapping.write_text(mapping_text(calm, []))
    settings = DriftSettings.read(
        source=url,
        mapping=mapping,
        reference=f"{first}..{date.fromordinal(first.toordinal() + 30)}",
        drift_window=864_000,
        drift_report=False,
        reports=tmp_path / "reports",
        reports_port=0,
        database_url=f"sqlite:///{tmp_path / 'runs.db'}",
    )
    with ExitStack() as stack:
        compose(settings, stack)()
    (folder,) = (tmp_path / "reports" / "runs").iterdir()
    result = read_result((folder / "result.json").read_bytes())
    assert (result.decision, result.model.name) == ("NO_ACTION", "shop")
