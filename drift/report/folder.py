"""The folder of drift reports: one folder for each run, and an index page that needs no server.

One process writes, others may read at the same time. Files appear whole: they are written under a temporary name and
renamed. A killed process leaves at most temporary files behind, which are removed later.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from bisect import bisect_left
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from drift.report.page import render_index, render_run
from drift.result import RUN_ID, Reports, ResultError, RunResult, read_result

Writer: TypeAlias = Callable[[Path], object]
"""Writes one file at the given path."""

EVIDENTLY: Final = ("report.html", "report.json")
MEMBERS: Final = (*EVIDENTLY, "result.json")
SINGLE: Final = re.compile(r"drift_([A-Za-z0-9.-]+)_vs_([A-Za-z0-9.-]+)\.(?:html|json)")
_TEMPORARY = ".tmp-"
_ABANDONED_S = 3_600
_log = logging.getLogger(__name__)


class ReportError(Exception):
    """A report cannot be written; the message says which and why."""


class ReportFolder:
    """Reports of runs below `path`, of which about `keep` are kept; `trace_url` is the base of links to traces."""

    def __init__(self, path: Path, keep: int = 100, *, trace_url: str | None = None) -> None:
        if keep < 1:
            raise ValueError(f"keep={keep}: at least one report must be kept")
        self.path = path
        self.trace_url = trace_url
        self._keep = keep
        self._written: str | None = None
        self._warned: set[str] = set()
        self._known: dict[str, tuple[int, RunResult]] = {}

    @property
    def _runs(self) -> Path:
        return self.path / "runs"

    def write(self, result: RunResult, html_writer: Writer | None = None, json_writer: Writer | None = None) -> Path:
        """Write `runs/<run_id>/{report.html,report.json,result.json}` and a page of it; return that folder.

        Without a comparison there are no writers. The folder appears whole or not at all.

        Raises:
            ReportError: the run id is not a UUID, the run was already written, or the disk fails. What a writer raises
                passes through.
        """
        run_id = result.run_id
        if not RUN_ID.fullmatch(run_id):
            raise ReportError(f"{run_id!r} is not a run id: it becomes a path, and must be a UUID in lower case")
        place = self._runs / run_id
        temporary = self._runs / f"{_TEMPORARY}{run_id}"
        try:
            temporary.mkdir(parents=True)
            (temporary / "result.json").write_bytes(result.to_file())
            for name, writer in (("report.html", html_writer), ("report.json", json_writer)):
                if writer is not None:
                    writer(temporary / name)
            files = {f"{run_id}/{each.name}" for each in temporary.iterdir()}
            page = render_run(result, files, trace_url=self.trace_url)
            (temporary / "index.html").write_text(page, encoding="utf-8")
            temporary.rename(place)
        except (OSError, ValueError) as error:
            raise ReportError(f"report of run {run_id}: {error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        self._written = run_id
        return place

    def runs(self) -> list[RunResult]:
        """All runs, newest first by the times in their results; folders that cannot be read are ignored."""
        folders = [self._runs / name for name in _names(self._runs) if not name.startswith(_TEMPORARY)]
        found = [result for folder in folders if (result := self._read(folder)) is not None]
        return sorted(found, key=lambda run: (run.time, run.run_id), reverse=True)

    def find(self, run_id: str) -> RunResult | None:
        """One run; None if it does not exist or cannot be read."""
        folder = self._runs / run_id
        return self._read(folder) if RUN_ID.fullmatch(run_id) and folder.is_dir() else None

    def nearest(self, moment: datetime) -> RunResult | None:
        """The run whose time is nearest to `moment` (aware); the newer of two equally near."""
        return min(self.runs(), key=lambda run: abs(run.time - moment), default=None)

    def member(self, run_id: str, name: str) -> Path | None:
        """The file of a run by its name, one of `MEMBERS`; None if it is missing or a link out of this folder."""
        if name not in MEMBERS or not RUN_ID.fullmatch(run_id):
            return None
        return self._inside(self._runs / run_id / name)

    def single(self, name: str) -> Path | None:
        """The file of a single comparison by its name; None as above."""
        return self._inside(self.path / name) if SINGLE.fullmatch(name) else None

    def page(self, *, now: datetime | None = None) -> str:
        """The index page; with `now` (aware) it shows the age of its newest run."""
        runs = self.runs()
        singles = sorted(name for name in _names(self.path) if name.endswith(".html") and self.single(name))
        return render_index(runs, self.files(runs), trace_url=self.trace_url, singles=singles, now=now)

    def files(self, runs: list[RunResult]) -> set[str]:
        """The existing files of these runs, as `<run_id>/report.html`."""
        ids = [run.run_id for run in runs]
        return {f"{run_id}/{name}" for run_id in ids for name in MEMBERS if self.member(run_id, name)}

    def write_index(self) -> Path:
        """Write `index.html`; it is replaced whole or stays as it was.

        Raises:
            ReportError: the disk fails.
        """
        return replace_file(self.path / "index.html", lambda path: path.write_text(self.page(), encoding="utf-8"))

    def prune(self) -> list[str]:
        """Remove the oldest runs until `keep` are left, and temporary files; return the removed ids.

        The newest RETRAIN and the run written last are kept, and so are folders that cannot be read.
        """
        self.sweep()
        runs = self.runs()
        retrain = next((run.run_id for run in runs if run.recommendation == "RETRAIN"), None)
        removable = [run.run_id for run in reversed(runs) if run.run_id not in {retrain, self._written}]
        removed = []
        for run_id in removable[: max(0, len(runs) - self._keep)]:
            temporary = self._runs / f"{_TEMPORARY}{run_id}"
            try:
                (self._runs / run_id).rename(temporary)
            except OSError as error:
                self._warn_once(run_id, f"cannot be removed: {error}")
                continue
            shutil.rmtree(temporary, ignore_errors=True)
            self._known.pop(run_id, None)
            removed.append(run_id)
        return removed

    def reports_of(self, moments: Collection[datetime], days: Collection[date]) -> list[Path]:
        """Evidently's files that may show a row predicted at one of these moments, or a snapshot of one of these days.

        Those are the files of each run whose window includes a moment, and of single comparisons: of one of the days,
        and of live predictions if there are moments.
        """
        times = sorted(moments)
        names = {day.isoformat() for day in days} | ({"live"} if times else set())
        return self._evidently_files(lambda run: _includes(run, times), names)

    def reports_before(self, moment: datetime) -> list[Path]:
        """Evidently's files that may show a row predicted before an aware time.

        Those are the files of each run whose window begins earlier, and of all single comparisons of live predictions,
        whose windows are unknown.
        """
        return self._evidently_files(lambda run: run.current.start is not None and run.current.start < moment, {"live"})

    def _evidently_files(self, is_wanted: Callable[[RunResult], bool], names: Collection[str]) -> list[Path]:
        """The existing files of these runs, and of the single comparisons of one of these dates, `bundle` or `live`."""
        runs = [self._runs / run.run_id / name for run in self.runs() if is_wanted(run) for name in EVIDENTLY]
        singles = [
            self.path / name
            for name in sorted(_names(self.path))
            if (found := SINGLE.fullmatch(name)) and {*names} & {*found.groups()}
        ]
        return [path for path in (*runs, *singles) if path.exists()]

    def delete_reports(self, files: Collection[Path]) -> None:
        """Delete some of Evidently's files, and write the pages again that link to them.

        Raises:
            ReportError: the disk fails.
        """
        try:
            for file in files:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise ReportError(f"{error.filename}: {error.strerror}") from error
        for run_id in sorted({file.parent.name for file in files}):
            if (run := self.find(run_id)) is not None:
                page = render_run(run, self.files([run]), trace_url=self.trace_url)
                replace_file(self._runs / run_id / "index.html", partial(Path.write_text, data=page, encoding="utf-8"))
        if files:
            self.write_index()

    def sweep(self) -> None:
        """Remove temporary files of a killed process. For the process that writes: at its start, and at each prune."""
        for name in _names(self._runs):
            if name.startswith(_TEMPORARY):
                shutil.rmtree(self._runs / name, ignore_errors=True)
        for name in _names(self.path):
            if name.startswith(_TEMPORARY):
                _remove_abandoned(self.path / name)

    def _inside(self, path: Path) -> Path | None:
        """`path` itself if it is a file in this folder: a link may not lead out of it."""
        try:
            real = path.resolve(strict=True)
        except OSError:
            return None
        return path if real.is_file() and real.is_relative_to(self.path.resolve()) else None

    def _read(self, folder: Path) -> RunResult | None:
        file = folder / "result.json"
        try:
            if not RUN_ID.fullmatch(folder.name) or self._inside(file) is None:
                raise ResultError("it is not a run's folder, or its result.json is missing")
            changed = file.stat().st_mtime_ns
            known = self._known.get(folder.name)
            if known is None or known[0] != changed:
                result = read_result(file.read_bytes())
                if result.run_id != folder.name:
                    raise ResultError(f"its result.json is that of run {result.run_id}")
                known = self._known[folder.name] = (changed, result)
        except (OSError, ValueError, RecursionError) as error:
            self._warn_once(folder.name, f"is ignored: {error}")
            return None
        return known[1]

    def _warn_once(self, name: str, what: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            _log.warning("report folder %r %s", name, what)


def _includes(run: RunResult, times: list[datetime]) -> bool:
    """Whether the run's window includes one of these times, which are sorted."""
    start, end = run.current.start, run.current.end
    return start is not None and end is not None and bisect_left(times, start) < bisect_left(times, end)


def single_reports(path: Path, reference: str, current: str) -> Reports:
    """The paths `drift_<reference>_vs_<current>.html` and `.json` in the folder `path`.

    The two names are dates, `bundle` or `live`. Characters other than letters, digits, dots and hyphens become hyphens.
    """
    stem = "drift_{}_vs_{}".format(*(re.sub(r"[^A-Za-z0-9.-]+", "-", name) or "-" for name in (reference, current)))
    return Reports(str(path / f"{stem}.html"), str(path / f"{stem}.json"))


def replace_file(path: Path, writer: Writer) -> Path:
    """Write a file that appears whole or stays as it was; two processes may do so at once.

    Raises:
        ReportError: the disk fails.
    """
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(temporary)
        temporary.replace(path)
    except OSError as error:
        raise ReportError(f"{path}: {error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (only names are needed, and a missing folder is not an error)
    except OSError:
        return []


def _remove_abandoned(path: Path) -> None:
    """Remove a temporary file older than an hour: a newer one may still be in use."""
    try:
        if time.time() - path.stat().st_mtime > _ABANDONED_S:
            path.unlink()
    except OSError as error:
        _log.debug("%s: %s", path, error)
