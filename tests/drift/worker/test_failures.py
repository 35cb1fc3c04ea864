from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from drift.comparison.evidently import Comparison
from leeway.model.manifest import MANIFEST
from tests.drift.cycles import RATE, WINDOW_S, World, repeat
from tests.drift.standins import NOON, RememberingProbe, calm_rows, plain_compare


def lose_database(world: World) -> None:
    world.database.parent.rename(world.folder / "away")


def find_database(world: World) -> None:
    (world.folder / "away").rename(world.database.parent)


def lose_bundle(world: World) -> None:
    world.bundle.folder.rename(world.folder / "bundle-away")


def find_bundle(world: World) -> None:
    (world.folder / "bundle-away").rename(world.bundle.folder)


def damage_bundle(world: World) -> None:
    manifest = world.bundle.folder / MANIFEST
    manifest.rename(world.folder / MANIFEST)
    manifest.write_text("{")


def mend_bundle(world: World) -> None:
    (world.folder / MANIFEST).replace(world.bundle.folder / MANIFEST)


def block_reports(world: World) -> None:
    shutil.rmtree(world.reports.path)
    world.reports.path.write_text("a file where the folder should be")


def unblock_reports(world: World) -> None:
    world.reports.path.unlink()


@pytest.mark.parametrize(
    ("kind", "spoil", "mend"),
    [
        ("database", lose_database, find_database),
        ("bundle", lose_bundle, find_bundle),
        ("bundle", damage_bundle, mend_bundle),
        ("reports", block_reports, unblock_reports),
    ],
    ids=["database away", "bundle gone", "bundle damaged", "reports not writable"],
)
def test_a_failure_is_unknown_and_passes(
    calm: World, probe: RememberingProbe, kind: str, spoil: Callable[[World], None], mend: Callable[[World], None]
) -> None:
    """While it lasts each run is UNKNOWN for that reason; the first one after it sees as before."""
    cycle = calm.cycle(probe)
    repeat(calm, cycle, 1)
    spoil(calm)
    repeat(calm, cycle, 2)
    mend(calm)
    repeat(calm, cycle, 1)
    assert probe.ended == ["NO_ACTION", kind, kind, "NO_ACTION"]
    assert all(reason for _, reason in probe.unknowns)


def test_a_database_that_comes_back_empty_is_used(calm: World, probe: RememberingProbe) -> None:
    """The file and its tables are gone for good: the tables are made anew, and new predictions are seen."""
    cycle = calm.cycle(probe)
    repeat(calm, cycle, 1)
    shutil.rmtree(calm.database.parent)
    repeat(calm, cycle, 1)
    calm.database.parent.mkdir()
    repeat(calm, cycle, 1)
    calm.engine.dispose()
    calm.serve(calm_rows(RATE), start_s=2 * WINDOW_S)
    calm.clock.now = NOON + timedelta(seconds=3 * WINDOW_S)
    repeat(calm, cycle, 1)
    assert probe.ended == ["NO_ACTION", "database", "too_few_rows", "NO_ACTION"]


def test_a_detector_that_raises_is_unknown(
    calm: World, probe: RememberingProbe, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever Evidently raises is counted, its traceback is logged once, and the next cycle has its turn."""

    def broken(*_arguments: object, **_options: object) -> NoReturn:
        raise ZeroDivisionError("in the middle of it")

    repeat(calm, calm.cycle(probe, compare=broken), 3)
    assert probe.unknowns == [("other", "in the middle of it")] * 3
    assert caplog.text.count("Traceback") == 1


def test_a_failed_run_leaves_nothing_half_done(calm: World, probe: RememberingProbe) -> None:
    """Where the page cannot be written there is neither a folder nor a row: nobody counts what nobody can read."""

    def unwritable(*arguments: Any, **options: Any) -> Comparison:  # noqa: ANN401 (handed on)
        made = plain_compare(*arguments, **options)
        made._snapshot.save_html = lambda _path: 1 / 0
        return made

    calm.cycle(probe, compare=unwritable)()
    assert probe.ended == ["other"]
    assert (calm.run_folders(), calm.runs()) == ([], [])


def test_too_few_rows_are_stored_as_unknown(world: World, probe: RememberingProbe) -> None:
    """The row says UNKNOWN and why, with a share of null."""
    world.serve(calm_rows(150))
    world.clock.forward(WINDOW_S)
    world.cycle(probe)()
    (row,) = world.runs()
    assert (row["share"], row["decision"], row["recommendation"], row["subjects"]) == (None, "UNKNOWN", "UNKNOWN", 150)
    assert "150 subjects are too few" in row["reason"]


def test_a_quiet_night_leaves_one_report_and_one_line(
    world: World, probe: RememberingProbe, caplog: pytest.LogCaptureFixture
) -> None:
    """Thirty cycles without a prediction: thirty UNKNOWN runs, one page, one line in the log."""
    with caplog.at_level(logging.INFO):
        repeat(world, world.cycle(probe), 30)
    assert probe.ended == ["too_few_rows"] * 30
    assert len(world.run_folders()) == 1
    assert [record.levelname for record in caplog.records if record.name.startswith("drift")] == ["WARNING"]


def test_unknown_neither_counts_nor_breaks_the_row(drifting: World, probe: RememberingProbe) -> None:
    """Two drifted windows, an outage, one more: the third one confirms."""
    cycle = drifting.cycle(probe)
    repeat(drifting, cycle, 2, WINDOW_S)
    lose_database(drifting)
    repeat(drifting, cycle, 1, WINDOW_S)
    find_database(drifting)
    repeat(drifting, cycle, 1, WINDOW_S)
    assert probe.ended == ["INVESTIGATE", "INVESTIGATE", "database", "RETRAIN"]


def test_a_clock_that_steps_back_counts_nothing_twice(drifting: World, probe: RememberingProbe) -> None:
    """Set back, the same two windows are seen again and confirm nothing."""
    cycle = drifting.cycle(probe)
    repeat(drifting, cycle, 2, WINDOW_S)
    drifting.clock.forward(-WINDOW_S)
    repeat(drifting, cycle, 2, -WINDOW_S)
    assert probe.ended == ["INVESTIGATE"] * 4
