from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.options import console, sigterm_as_ctrl_c
from cli.trace_view import key_metrics, trace_tree, wait_for_trace
from cli.workshop import Workshop, WorkshopError, serving
from leeway.bundle import Bundle

ROOT = Path(__file__).parents[2]


def demo(folder: Path, requests: int = 6) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, ["demo", "--folder", str(folder), "--requests", str(requests)])


def is_answering(url: str) -> bool:
    """Whether somebody listens there."""
    try:
        httpx2.get(f"{url}/health/live", trust_env=False)
    except httpx2.TransportError:
        return False
    return True


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Result, Path]:
    """The demo, run twice at once in one folder, with a stranger's file in it the second time."""
    folder = tmp_path_factory.mktemp("demo") / "new"
    first = demo(folder)
    (folder / "notes.txt").write_text("dear")
    return first, demo(folder), folder


@pytest.fixture
def shop(bundle: Bundle, tmp_path: Path) -> Workshop:
    """A demo's folder with a model in it."""
    made = Workshop(tmp_path / "demo")
    made.prepare()
    shutil.copytree(bundle.folder, made.bundle)
    return made


@pytest.mark.parametrize("run", [0, 1])
@pytest.mark.parametrize(
    "shown",
    [
        r"7,043 customers",
        r"ROC AUC .*0\.8",
        r"serving on http://127\.0\.0\.1:\d+",
        r'"user_id": "7590-VHVEG"',
        r'"recorded": true',
        r"http\.server\.request\.duration .* 7 ",
        r"leeway\.prediction_log\.spooled .* 7 ",
        r"POST /predict .*http\.route=/predict",
        r"── snapshot lookup",
        r"── score",
        r"stopped cleanly; 7 predictions are in sqlite:///",
        r"Next: `leeway serve",
    ],
)
def test_shows_what_was_seen(runs: tuple[Result, Result, Path], run: int, shown: str) -> None:
    """Each run trains, serves, asks, and shows an answer, the key metrics and one trace as a tree."""
    result = runs[run]
    assert isinstance(result, Result)
    assert result.exit_code == 0, result.output
    assert re.search(shown, result.stdout), result.stdout


def test_the_service_is_gone_afterwards(runs: tuple[Result, Result, Path]) -> None:
    """After the demo nobody listens at the address it served on."""
    for result in runs[:2]:
        match = re.search(r"serving on (\S+)", result.stdout)
        assert match is not None
        assert not is_answering(match[1])


def test_a_strangers_file_stays(runs: tuple[Result, Result, Path]) -> None:
    """The second run begins anew, and removes nothing that the demo did not make."""
    assert (runs[2] / "notes.txt").read_text() == "dear"


def test_tables_do_not_wrap_in_a_pipe(runs: tuple[Result, Result, Path]) -> None:
    """In a pipe a span of the trace is one line, however long."""
    (line,) = [line for line in runs[0].stdout.splitlines() if "POST /predict" in line]
    assert "http.response.status_code=200" in line


def test_a_folder_of_other_things_is_spared(tmp_path: Path) -> None:
    """A folder that no demo made and that is not empty ends with exit code 2, and stays as it is."""
    (tmp_path / "thesis.txt").write_text("dear")
    (tmp_path / "leeway.db").write_text("mine")
    result = demo(tmp_path)
    assert (result.exit_code, "no demo made it" in result.stderr) == (2, True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"thesis.txt": "dear", "leeway.db": "mine"}


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    """A file where the folder should be ends with exit code 2 in plain words, and stays."""
    (tmp_path / "demo").write_text("dear")
    result = demo(tmp_path / "demo")
    assert (result.exit_code, "cannot be the demo's folder" in result.stderr) == (2, True)
    assert (tmp_path / "demo").read_text() == "dear"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """An empty folder becomes the demo's."""
    Workshop(tmp_path).prepare()
    assert [path.name for path in tmp_path.iterdir()] == [".leeway-demo"]


def test_begins_anew(shop: Workshop) -> None:
    """Preparing again removes the data of the run before, and keeps the mark."""
    for path in (shop.database, shop.spool, shop.spans, shop.log, shop.database.with_name("leeway.db-wal")):
        path.write_text("old")
    shop.prepare()
    assert sorted(path.name for path in shop.folder.iterdir()) == [".leeway-demo", "bundle"]


def test_serves_in_the_folder_alone(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's environment is the demo's own: no setting of the user's, and no Collector, finds its way in."""
    monkeypatch.setenv("LEEWAY_RECORDING", "required")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://example.invalid")
    environment = shop.environment()
    assert not any(name.startswith("OTEL_") for name in environment)
    assert "LEEWAY_RECORDING" not in environment
    assert environment["LEEWAY_BUNDLE"] == str(shop.bundle)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_happens_the_service_is_stopped(shop: Workshop, error: type[BaseException]) -> None:
    """Ctrl-C, or an error while it serves, leaves no process behind."""
    seen: list[str] = []

    def interrupted() -> None:
        with serving(shop) as url:
            assert is_answering(url)
            seen.append(url)
            raise error

    with pytest.raises(error):
        interrupted()
    assert not is_answering(seen[0])


def test_a_service_that_does_not_start_is_said(tmp_path: Path) -> None:
    """A service that cannot start is an error that holds what it printed last, and where the rest is."""
    shop = Workshop(tmp_path)
    shop.prepare()
    with (
        pytest.raises(WorkshopError, match=r"did not start.*service\.log[\s\S]*manifest\.json is not there"),
        serving(shop),
    ):
        pass


def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a run ends it with exit code 130, and its service with it."""
    command = [sys.executable, "-m", "cli.main", "demo", "--folder", str(tmp_path / "demo"), "--requests", "1000000"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = next(match[1] for line in process.stdout if (match := re.search(r"serving on (\S+)", line)))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Stopped; what was made is in" in output
    assert not is_answering(url)


def test_sigterm_unwinds_like_ctrl_c() -> None:
    """Inside the block SIGTERM is a KeyboardInterrupt, so that all is cleared up; behind it, it is what it was."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def span(name: str, span_id: str, parent_id: str | None, second: int) -> str:
    """A span as the spans file holds it."""
    times = f'"start_time": "2026-01-01T00:00:0{second}Z", "end_time": "2026-01-01T00:00:0{second}.250000Z"'
    parent = "null" if parent_id is None else f'"{parent_id}"'
    context = f'{{"trace_id": "0xaa", "span_id": "{span_id}"}}'
    attributes = '"attributes": {"http.route": "[/x]"}'
    return f'{{"name": "{name}", "context": {context}, "parent_id": {parent}, {times}, {attributes}}}\n'


def test_a_trace_is_a_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Spans hang below their parents in the order of time, half a line is passed over, brackets are no markup."""
    (tmp_path / "spans").write_text(
        span("late", "0x3", "0x1", 3) + span("early", "0x2", "0x1", 2) + span("root", "0x1", None, 1) + '{"name": "ha'
    )
    wait_for_trace(tmp_path / "spans", "aa", timeout_s=0.1)
    console().print(trace_tree(tmp_path / "spans", "aa"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ms")[0].split("── ")[-1] for line in lines[1:]] == [
        "root 250.00",
        "early 250.00",
        "late 250.00",
    ]
    assert all(line.endswith("http.route=[/x]") for line in lines[1:])


def test_waiting_for_a_trace_ends(tmp_path: Path) -> None:
    """A trace that does not come is waited for no longer than told."""
    (tmp_path / "spans").write_text("")
    began_s = time.monotonic()
    wait_for_trace(tmp_path / "spans", "aa", timeout_s=0.2)
    assert time.monotonic() - began_s < 2


def test_key_metrics_of_nothing_are_shown() -> None:
    """Metrics that nobody has sent yet are shown with a count of 0."""
    table = key_metrics("")
    assert [str(cell) for cell in table.columns[1].cells] == ["0"] * table.row_count
