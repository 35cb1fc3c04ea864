"""The folder of reports: written whole, pruned by rule, and not upset by what else lies in it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drift.report.folder import ReportError, ReportFolder, replace_file, single_reports
from drift.result import read_result
from tests.drift.documents import NOON, WINDOW, a_run, result, run_id, unknown


def html(path: Path) -> None:
    """Writes a stand-in for Evidently's page."""
    path.write_text("<html>")


def text(path: Path) -> None:
    """Writes a stand-in for Evidently's JSON."""
    path.write_text("{}")


def filled(path: Path, documents: Sequence[dict[str, Any]], keep: int = 100) -> ReportFolder:
    """A folder with these runs, written by another instance."""
    for document in documents:
        ReportFolder(path).write(read_result(document), html, text)
    return ReportFolder(path, keep)


def names(folder: Path) -> list[str]:
    """The names in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def ids(folder: ReportFolder) -> list[str]:
    """The runs' ids, in the folder's order."""
    return [run.run_id for run in folder.runs()]


def test_a_run_has_its_three_files_and_a_page(tmp_path: Path) -> None:
    """The run's folder contains what the writers wrote, the result, and a page."""
    place = ReportFolder(tmp_path).write(a_run(1), html, text)
    assert place == tmp_path / "runs" / run_id(1)
    assert names(place) == ["index.html", "report.html", "report.json", "result.json"]
    assert json.loads((place / "result.json").read_text()) == result(1)


def test_a_run_without_comparison_has_no_report(tmp_path: Path) -> None:
    """Without a comparison only the result is linked."""
    ReportFolder(tmp_path).write(read_result(unknown(1)))
    page = ReportFolder(tmp_path).page()
    assert f"{run_id(1)}/result.json" in page
    assert "report.html" not in page


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    """If a report cannot be written no part of it stays, and the error passes through."""

    def fails(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("Evidently has a bad day")

    with pytest.raises(RuntimeError, match="bad day"):
        ReportFolder(tmp_path).write(a_run(1), html, fails)
    assert names(tmp_path / "runs") == []


@pytest.mark.parametrize("bad", ["", "../x", "A" * 36, run_id(1) + "/..", f"{run_id(1)}\n", "é" * 36])
def test_only_a_run_id_becomes_a_path(tmp_path: Path, bad: str) -> None:
    """Anything but a UUID is rejected before anything is written."""
    with pytest.raises(ReportError, match="is not a run id"):
        ReportFolder(tmp_path).write(msgspec.structs.replace(a_run(1), run_id=bad), html, text)
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_written_as_null(tmp_path: Path, number: float) -> None:
    """A value that cannot be computed is null in the file, whatever it was in the program."""
    place = ReportFolder(tmp_path).write(msgspec.structs.replace(a_run(1), share=number), html, text)
    assert json.loads((place / "result.json").read_text())["share"] is None


def test_a_run_is_written_once(tmp_path: Path) -> None:
    """A second report of the same run is rejected, and the first is unchanged."""
    folder = filled(tmp_path, [result(1)])
    with pytest.raises(ReportError, match=run_id(1)):
        folder.write(a_run(1, reason="another"), html, text)
    assert folder.runs()[0].reason == result(1)["reason"]


def test_a_killed_writer_leaves_no_half_report(tmp_path: Path) -> None:
    """After SIGKILL in the middle of a report the run does not exist; the next sweep removes the rest."""
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom drift.report.folder import ReportFolder\n"
        "from tests.drift.documents import a_run\n"
        "def slow(path):\n    path.write_text('half'); print('writing', flush=True); time.sleep(60)\n"
        "ReportFolder(Path(sys.argv[1])).write(a_run(1), slow, slow)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    folder = ReportFolder(tmp_path)
    assert folder.runs() == []
    assert len(names(tmp_path / "runs")) == 1
    folder.prune()
    assert names(tmp_path / "runs") == []


def test_newest_first_by_the_times_inside(tmp_path: Path) -> None:
    """The order is that of the windows, not of the files."""
    folder = filled(tmp_path, [result(number) for number in (3, 1, 2)])
    os.utime(tmp_path / "runs" / run_id(1) / "result.json", (2e9, 2e9))
    assert ids(folder) == [run_id(3), run_id(2), run_id(1)]


def test_nearest_run_in_time(tmp_path: Path) -> None:
    """Of runs at 12:00, 12:10 and 12:20, 12:06 belongs to the second, and any later time to the last."""
    folder = filled(tmp_path, [result(number) for number in (0, 10, 20)])
    found = [folder.nearest(NOON + timedelta(minutes=minute)) for minute in (-500, 6, 500)]
    assert [run and run.run_id for run in found] == [run_id(0), run_id(10), run_id(20)]


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    """The oldest runs are removed until `keep` are left."""
    folder = filled(tmp_path, [result(number) for number in range(6)], keep=4)
    assert folder.prune() == [run_id(0), run_id(1)]
    assert ids(folder) == [run_id(number) for number in (5, 4, 3, 2)]


def test_prune_keeps_the_newest_retrain(tmp_path: Path) -> None:
    """The newer of two old RETRAINs stays, and counts as one of those kept."""
    retrains = [result(number, drifted=6, recommendation="RETRAIN") for number in (0, 1)]
    folder = filled(tmp_path, [*retrains, *(result(number) for number in range(2, 7))], keep=3)
    folder.prune()
    assert ids(folder) == [run_id(6), run_id(5), run_id(1)]


def test_prune_keeps_what_was_just_written(tmp_path: Path) -> None:
    """After the clock was set back the newest report looks like the oldest, and stays."""
    folder = filled(tmp_path, [result(number) for number in range(10, 14)], keep=2)
    folder.write(a_run(0), html, text)
    folder.prune()
    assert ids(folder) == [run_id(13), run_id(0)]


def test_a_corrupt_folder_is_ignored_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Broken, foreign and half-empty folders hide nothing, are not removed, and are each logged once."""
    folder = filled(tmp_path, [result(number) for number in range(5)], keep=1)
    runs = tmp_path / "runs"
    (runs / run_id(0) / "result.json").write_text("{half")
    (runs / run_id(1) / "result.json").unlink()
    (runs / run_id(2) / "result.json").write_text(json.dumps(result(3)))
    (runs / "notes.txt").write_text("somebody's")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert ids(folder) == [run_id(4), run_id(3)]
    folder.prune()
    folder.write_index()
    assert names(runs) == [*(run_id(number) for number in (0, 1, 2, 4)), "notes.txt"]
    assert len(caplog.records) == 4


def test_a_deleted_report_is_not_linked(tmp_path: Path) -> None:
    """A run whose HTML was deleted is listed, without that link."""
    folder = filled(tmp_path, [result(1)])
    (tmp_path / "runs" / run_id(1) / "report.html").unlink()
    page = folder.page()
    assert f"{run_id(1)}/report.html" not in page
    assert f"{run_id(1)}/report.json" in page


def test_a_changed_result_is_read_again(tmp_path: Path) -> None:
    """A cached result is replaced when its file changes."""
    folder = filled(tmp_path, [result(1)])
    folder.runs()
    place = tmp_path / "runs" / run_id(1) / "result.json"
    place.write_text(json.dumps(result(1, reason="Repaired.")))
    os.utime(place, (1e9, 1e9))
    assert folder.runs()[0].reason == "Repaired."


def test_index_is_a_file_that_needs_no_server(tmp_path: Path) -> None:
    """The written page links to existing files by relative addresses."""
    folder = filled(tmp_path, [result(1)])
    page = folder.write_index().read_text()
    for name in ("index.html", "report.html", "report.json", "result.json"):
        assert f'href="runs/{run_id(1)}/{name}"' in page
        assert (tmp_path / "runs" / run_id(1) / name).is_file()
    assert names(tmp_path) == ["index.html", "runs"]


def test_a_single_comparison_is_listed(tmp_path: Path) -> None:
    """`drift run` writes two files named after its dates; the index lists them."""
    paths = single_reports(tmp_path / "new", "2024-03-31", "2024-04-30")
    assert paths.html == str(tmp_path / "new" / "drift_2024-03-31_vs_2024-04-30.html")
    replace_file(Path(paths.html), html)
    assert "drift_2024-03-31_vs_2024-04-30.html" in ReportFolder(tmp_path / "new").page()


def test_a_single_comparison_stays_in_its_folder(tmp_path: Path) -> None:
    """Slashes in a name become hyphens."""
    paths = single_reports(tmp_path, "../../etc", "a/b c")
    assert paths.html == str(tmp_path / "drift_..-..-etc_vs_a-b-c.html")


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """If the new report cannot be written, the old one is unchanged and no temporary file is left."""

    def fails(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    replace_file(tmp_path / "drift_a_vs_b.html", html)
    with pytest.raises(ReportError, match="No space left"):
        replace_file(tmp_path / "drift_a_vs_b.html", fails)
    assert (tmp_path / "drift_a_vs_b.html").read_text() == "<html>"
    assert names(tmp_path) == ["drift_a_vs_b.html"]


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    """A temporary file of an hour ago is removed; a new one may still be in use."""
    for name, age_s in ((".tmp-1-index.html", 4_000), (".tmp-2-index.html", 5)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    ReportFolder(tmp_path).sweep()
    assert names(tmp_path) == [".tmp-2-index.html"]


def test_a_page_of_a_hundred_runs_is_fast(tmp_path: Path) -> None:
    """The page of a full folder takes well under a second of processor time."""
    folder = filled(tmp_path, [result(number, drifted=number % 7) for number in range(100)])
    started_s = time.process_time()
    assert folder.page().count("<details") == 100
    assert time.process_time() - started_s < 2


def test_reports_that_may_show_a_customer_are_deleted(tmp_path: Path) -> None:
    """Those of runs whose window includes a prediction, and single comparisons of a snapshot's day or of live data."""
    folder = filled(tmp_path, [result(0), result(10), result(40)])
    for reference, current in (("2024-03-31", "2024-04-30"), ("bundle", "live"), ("bundle", "2024-05-31")):
        paths = single_reports(tmp_path, reference, current)
        html(Path(str(paths.html)))
    found = folder.reports_of([NOON - timedelta(minutes=3), NOON + timedelta(minutes=24)], [date(2024, 4, 30)])
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        *(f"runs/{run_id(number)}/report.{kind}" for number in (10, 0) for kind in ("html", "json")),
        "drift_2024-03-31_vs_2024-04-30.html",
        "drift_bundle_vs_live.html",
    ]
    folder.delete_reports(found)
    assert names(tmp_path / "runs" / run_id(0)) == ["index.html", "result.json"]
    assert "report.html" not in (tmp_path / "runs" / run_id(0) / "index.html").read_text()
    index = (tmp_path / "index.html").read_text()
    assert [f"{run_id(number)}/report.html" in index for number in (0, 40)] == [False, True]
    assert folder.reports_of([], []) == []
    assert ids(folder) == [run_id(40), run_id(10), run_id(0)]


def test_reports_that_may_show_pruned_predictions_are_found(tmp_path: Path) -> None:
    """Those of runs whose window begins before the time, and all single comparisons of live data."""
    folder = filled(tmp_path, [result(0), result(10), result(40)])
    for current in ("live", "2024-05-31"):
        html(Path(str(single_reports(tmp_path, "bundle", current).html)))
    found = folder.reports_before(NOON + timedelta(minutes=10) - WINDOW)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        *(f"runs/{run_id(0)}/report.{kind}" for kind in ("html", "json")),
        "drift_bundle_vs_live.html",
    ]


def test_the_end_of_a_window_does_not_belong_to_it(tmp_path: Path) -> None:
    """Its start does."""
    folder = filled(tmp_path, [result(0)])
    assert [bool(folder.reports_of([moment], [])) for moment in (NOON - WINDOW, NOON)] == [True, False]
