from __future__ import annotations

import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec.structs import replace

from drift.inputs import MonitoredModel
from drift.report.folder import MEMBERS, ReportFolder
from drift.result import Reports, read_result
from drift.verdicts.confirmation import Policy
from drift.webhook import Webhook
from drift.worker import run
from leeway.model.manifest import MANIFEST
from tests.drift.test_webhook import receiver
from tests.drift.worlds import (
    NOON,
    RATE,
    WINDOW_S,
    PlainPage,
    RememberingProbe,
    World,
    calm_rows,
    repeat,
    shifted_rows,
)


@pytest.fixture
def probe() -> RememberingProbe:
    """Remembers what the cycle reports."""
    return RememberingProbe()


@pytest.fixture
def drifting(world: World) -> World:
    """Two hours of shifted predictions, and the clock at the end of the first window."""
    world.serve(shifted_rows(8 * RATE), seconds=8 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    return world


@pytest.fixture
def calm(world: World) -> World:
    """Two hours of predictions without drift, and the clock at the end of the first window."""
    world.serve(calm_rows(8 * RATE), seconds=8 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    return world


# --- one cycle ------------------------------------------------------------------------------------------------------


def test_a_run_is_stored_with_its_result(drifting: World, probe: RememberingProbe) -> None:
    """One row in `drift_runs`: the window, the figures, and the same result that the probe was given."""
    drifting.cycle(probe)()
    (row,) = drifting.runs()
    (result,) = probe.results
    assert read_result(row["result"]) == result
    assert (row["window_from"], row["window_to"]) == (NOON, NOON + timedelta(seconds=WINDOW_S))
    assert (row["rows"], row["subjects"], row["share"]) == (RATE, RATE, result.share)
    assert (row["decision"], row["recommendation"]) == ("RETRAIN", "INVESTIGATE")


def test_a_run_writes_its_report(drifting: World, probe: RememberingProbe) -> None:
    """A folder with both reports and the result, and an index that links to it."""
    drifting.cycle(probe)()
    (folder,) = drifting.run_folders()
    assert {file.name for file in folder.iterdir()} == {*MEMBERS, "index.html"}
    assert f"runs/{folder.name}/" in (drifting.reports.path / "index.html").read_text()


def test_no_drift_is_no_action(calm: World, probe: RememberingProbe) -> None:
    """Predictions like the reference need no action."""
    repeat(calm, calm.cycle(probe), 3)
    assert probe.ended == ["NO_ACTION"] * 3


def test_old_reports_are_removed(calm: World, probe: RememberingProbe) -> None:
    """At most `keep` runs stay."""
    calm.reports = ReportFolder(calm.folder / "reports", keep=3)
    repeat(calm, calm.cycle(probe), 6)
    assert len(calm.run_folders()) == 3


def test_without_a_page_the_verdicts_are_the_same(drifting: World, probe: RememberingProbe) -> None:
    """Without Evidently's page the result names no reports, and the rest of it is the same."""
    drifting.cycle(probe)()
    drifting.cycle(probe, make_page=None)()
    paged, plain = probe.results
    assert plain.reports == Reports()
    assert replace(paged, run_id=plain.run_id, reports=Reports()) == plain
    assert sorted(file.name for file in drifting.run_folders()[1].iterdir()) == ["index.html", "result.json"]


def test_one_customer_is_one_subject(world: World, probe: RememberingProbe) -> None:
    """Two thousand calls from fifty customers are fifty subjects: too few, and no drift."""
    records = world.serve(shifted_rows(2_000), -WINDOW_S)
    world.log.write_batch(
        [
            replace(record, prediction_id=f"{record.prediction_id[:-1]}_", user_id=f"c-{place % 50}")
            for place, record in enumerate(records)
        ]
    )
    with world.engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {world.tables.predictions.name} WHERE user_id IS NULL")
    world.cycle(probe)()
    (row,) = world.runs()
    assert (row["rows"], row["subjects"]) == (2_000, 50)
    assert probe.ended == ["too_few_rows"]


# --- failures -------------------------------------------------------------------------------------------------------


@contextmanager
def replaced(path: Path, text: str | None = None) -> Iterator[None]:
    """While the block runs, `path` is gone, or a file with this text."""
    away = path.with_name(f"{path.name}-away")
    path.rename(away)
    if text is not None:
        path.write_text(text)
    yield
    path.unlink(missing_ok=True)
    away.rename(path)


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("database", lambda world: replaced(world.database.parent)),
        ("bundle", lambda world: replaced(world.bundle.folder)),
        ("bundle", lambda world: replaced(world.bundle.folder / MANIFEST, "{")),
        ("reports", lambda world: replaced(world.reports.path, "a file where the folder should be")),
    ],
    ids=["no database", "no bundle", "damaged bundle", "reports not writable"],
)
def test_a_failure_is_unknown_and_passes(
    calm: World, probe: RememberingProbe, kind: str, failure: Callable[[World], AbstractContextManager[None]]
) -> None:
    """During a failure each run is UNKNOWN for that reason; the first one after it compares again."""
    cycle = calm.cycle(probe)
    repeat(calm, cycle, 1)
    with failure(calm):
        repeat(calm, cycle, 2)
    repeat(calm, cycle, 1)
    assert probe.ended == ["NO_ACTION", kind, kind, "NO_ACTION"]
    assert all(reason for _, reason in probe.unknowns)


def test_a_database_that_comes_back_empty_is_used(calm: World, probe: RememberingProbe) -> None:
    """The file and its tables are gone: the tables are created again, and new predictions are compared."""
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


def test_a_failing_comparison_is_unknown(
    calm: World, probe: RememberingProbe, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is counted, its traceback is logged once, and the next cycle tries again."""

    def broken(*_arguments: object, **_options: object) -> NoReturn:
        raise ZeroDivisionError("in the middle of it")

    repeat(calm, calm.cycle(probe, make_page=broken), 3)
    assert probe.unknowns == [("other", "in the middle of it")] * 3
    assert caplog.text.count("Traceback") == 1


def test_a_failed_run_leaves_nothing_half_done(calm: World, probe: RememberingProbe) -> None:
    """If the page cannot be written there is neither a folder nor a row."""

    class Unwritable(PlainPage):
        def write_html(self, path: Path) -> None:
            raise ZeroDivisionError(path)

    calm.cycle(probe, make_page=Unwritable)()
    assert probe.ended == ["other"]
    assert (calm.run_folders(), calm.runs()) == ([], [])


def test_too_few_rows_are_stored_as_unknown(world: World, probe: RememberingProbe) -> None:
    """The row has UNKNOWN, the reason, and no share."""
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


def test_unknown_does_not_reset_the_count(drifting: World, probe: RememberingProbe) -> None:
    """Two drifted windows, an outage, one more: the third one confirms."""
    cycle = drifting.cycle(probe)
    repeat(drifting, cycle, 2, WINDOW_S)
    with replaced(drifting.database.parent):
        repeat(drifting, cycle, 1, WINDOW_S)
    repeat(drifting, cycle, 1, WINDOW_S)
    assert probe.ended == ["INVESTIGATE", "INVESTIGATE", "database", "RETRAIN"]


def test_a_clock_that_steps_back_counts_nothing_twice(drifting: World, probe: RememberingProbe) -> None:
    """After the clock was set back, the same two windows confirm nothing."""
    cycle = drifting.cycle(probe)
    repeat(drifting, cycle, 2, WINDOW_S)
    drifting.clock.forward(-WINDOW_S)
    repeat(drifting, cycle, 2, -WINDOW_S)
    assert probe.ended == ["INVESTIGATE"] * 4


# --- confirmation ---------------------------------------------------------------------------------------------------


def test_windows_that_overlap_confirm_nothing(drifting: World, probe: RememberingProbe) -> None:
    """With an interval of 60 s and a window of 900 s, RETRAIN comes with the third window without overlap."""
    repeat(drifting, drifting.cycle(probe), 31)
    assert probe.ended == ["INVESTIGATE"] * 30 + ["RETRAIN"]


def test_the_count_survives_a_restart(drifting: World) -> None:
    """With a new process for each window the third one still confirms."""
    ended = []
    for _ in range(3):
        probe = RememberingProbe()
        repeat(drifting, drifting.cycle(probe), 1, WINDOW_S)
        ended += probe.ended
    assert ended == ["INVESTIGATE", "INVESTIGATE", "RETRAIN"]


def test_the_cooldown_survives_a_restart(world: World, probe: RememberingProbe) -> None:
    """Drift, calm, drift: a RETRAIN within an hour of the last one is withheld, also by a new process."""
    world.serve(shifted_rows(RATE), 0)
    world.serve(calm_rows(RATE), WINDOW_S)
    world.serve(shifted_rows(RATE), 2 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    policy = Policy(breaches=1)
    repeat(world, world.cycle(probe, policy=policy), 2, WINDOW_S)
    repeat(world, world.cycle(probe, policy=policy), 1, WINDOW_S)
    assert probe.ended == ["RETRAIN", "NO_ACTION", "INVESTIGATE"]
    assert "not repeated before 2026-03-01T13:15:00" in probe.results[-1].reason


def test_a_new_model_starts_a_new_count(drifting: World, probe: RememberingProbe) -> None:
    """A bundle written over the old one is picked up, and the count starts again."""
    cycle = drifting.cycle(probe)
    repeat(drifting, cycle, 2, WINDOW_S)
    before = drifting.bundle.version
    after = drifting.train_again().version
    repeat(drifting, cycle, 2, WINDOW_S)
    assert [result.model.version for result in probe.results] == [before, before, after, after]
    assert probe.ended == ["INVESTIGATE"] * 4


def test_the_last_result_is_restored_after_a_restart(calm: World, probe: RememberingProbe) -> None:
    """A new process reports the last result before its own first comparison."""
    calm.cycle(probe)()
    again = RememberingProbe()
    calm.cycle(again)()
    assert again.restorations == probe.results


def test_a_state_that_cannot_be_read_starts_again(
    drifting: World, probe: RememberingProbe, caplog: pytest.LogCaptureFixture
) -> None:
    """An unreadable state costs the count, not the run."""
    drifting.cycle(probe)()
    with drifting.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE drift_runs SET state = '{}'")
    drifting.cycle(probe)()
    assert probe.ended == ["INVESTIGATE"] * 2
    assert "confirmation starts again" in caplog.text


def test_an_unreadable_result_keeps_the_state(
    drifting: World, probe: RememberingProbe, caplog: pytest.LogCaptureFixture
) -> None:
    """What has to be confirmed is restored although the last result cannot be shown."""
    before = drifting.cycle(probe)
    before()
    with drifting.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE drift_runs SET result = '{}'")
    after = drifting.cycle(probe)
    after._restore(MonitoredModel(drifting.bundle.name, drifting.bundle.version))
    assert after._state == before._state
    assert after._state is not None
    assert "result cannot be read" in caplog.text
    assert "confirmation starts again" not in caplog.text


# --- the webhook ----------------------------------------------------------------------------------------------------


def test_only_a_change_is_posted(world: World, probe: RememberingProbe) -> None:
    """No drift, drift twice, an empty window, drift, no drift: two events, none for UNKNOWN."""
    world.serve(calm_rows(RATE), 0)
    world.serve(shifted_rows(2 * RATE), WINDOW_S, seconds=2 * WINDOW_S)
    world.serve(shifted_rows(RATE), 4 * WINDOW_S)
    world.serve(calm_rows(RATE), 5 * WINDOW_S)
    world.clock.forward(WINDOW_S)
    with receiver([200]) as (url, received):
        hook = Webhook(url, source="http://reports")
        repeat(world, world.cycle(probe, webhook=hook, policy=Policy(breaches=9)), 6, WINDOW_S)
        hook.close(timeout_s=5)
    assert probe.ended == ["NO_ACTION", "INVESTIGATE", "INVESTIGATE", "too_few_rows", "INVESTIGATE", "NO_ACTION"]
    assert [(event["data"]["previous"], event["data"]["recommendation"]) for event in received] == [
        ("NO_ACTION", "INVESTIGATE"),
        ("INVESTIGATE", "NO_ACTION"),
    ]
    assert [event["id"] for event in received] == [probe.results[1].run_id, probe.results[4].run_id]


def test_a_restart_posts_nothing(drifting: World, probe: RememberingProbe) -> None:
    """A new process with the same recommendation posts nothing."""
    with receiver([200]) as (url, received):
        for _ in range(2):
            hook = Webhook(url, source="http://reports")
            drifting.cycle(probe, webhook=hook)()
            hook.close(timeout_s=5)
    assert len(received) == 1


def test_a_hanging_receiver_does_not_block_a_cycle(drifting: World, probe: RememberingProbe) -> None:
    """A receiver that accepts the connection and never answers does not delay the cycle."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        hook = Webhook(f"http://127.0.0.1:{hanging.getsockname()[1]}/hook", source="s", pause=lambda _s: None)
        started = time.monotonic()
        drifting.cycle(probe, webhook=hook)()
        elapsed_s = time.monotonic() - started
        assert hook._thread.is_alive()
    hook.close(timeout_s=10)  # the connection is reset when the receiver closes
    assert probe.ended == ["INVESTIGATE"]
    assert elapsed_s < 3


# --- the loop -------------------------------------------------------------------------------------------------------


def test_the_loop_runs_until_stopped() -> None:
    """The first cycle starts at once, the next after the interval, and none after the stop."""
    stop, calls = threading.Event(), []

    def cycle() -> None:
        calls.append(time.monotonic())
        if len(calls) == 3:
            stop.set()

    run(cycle, stop, interval_s=0.05)
    assert len(calls) == 3
    assert calls[2] - calls[0] >= 0.1
