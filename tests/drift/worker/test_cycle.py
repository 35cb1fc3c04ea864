from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from drift.report.folder import MEMBERS, ReportFolder
from drift.result import read_result
from tests.drift.cycles import RATE, WINDOW_S, World, repeat
from tests.drift.standins import NOON, RememberingProbe, shifted_rows


def test_a_run_is_stored_with_its_result(drifting: World, probe: RememberingProbe) -> None:
    """One row in `drift_runs`: the window, what was found, and the same document that the probe was told."""
    drifting.cycle(probe)()
    (row,) = drifting.runs()
    (result,) = probe.results
    assert read_result(row["result"]) == result
    assert (row["window_from"], row["window_to"]) == (NOON, NOON + timedelta(seconds=WINDOW_S))
    assert (row["rows"], row["subjects"], row["share"]) == (RATE, RATE, result.share)
    assert (row["decision"], row["recommendation"]) == ("RETRAIN", "INVESTIGATE")


def test_a_run_leaves_its_report(drifting: World, probe: RememberingProbe) -> None:
    """A folder with both of the detector's files and the result, and an index that leads to it."""
    drifting.cycle(probe)()
    (folder,) = drifting.run_folders()
    assert {file.name for file in folder.iterdir()} == {*MEMBERS, "index.html"}
    assert f"runs/{folder.name}/" in (drifting.reports.path / "index.html").read_text()


def test_calm_is_no_action(calm: World, probe: RememberingProbe) -> None:
    """Predictions like the reference ask for nothing."""
    repeat(calm, calm.cycle(probe), 3)
    assert probe.ended == ["NO_ACTION"] * 3


def test_old_reports_are_removed(calm: World, probe: RememberingProbe) -> None:
    """No more runs stay than are kept."""
    calm.reports = ReportFolder(calm.folder / "reports", keep=3)
    repeat(calm, calm.cycle(probe), 6)
    assert len(calm.run_folders()) == 3


def test_windows_above_the_cap_are_sampled_and_say_so(drifting: World, probe: RememberingProbe) -> None:
    """The result tells all subjects of the window, and the evidence how many were compared."""
    drifting.cycle(probe, max_subjects=250)()
    (result,) = probe.results
    assert (result.current.rows, result.current.subjects) == (RATE, RATE)
    assert "on a sample of 250 of 300 subjects" in result.verdicts["covariate"].evidence


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
