from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import ExitStack, suppress
from datetime import datetime, timedelta
from pathlib import Path
from socket import create_server
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from cli.demo.story import SHORTEST_S
from cli.demo.workspace import HOST, REPORTS_PORT, SERVICE_PORT, Workspace
from cli.main import app
from tests import preloaded

ROOT = Path(__file__).parents[3]
SHORT = ("--duration", str(SHORTEST_S), "--rate", "60")
"""Acts of two to three seconds."""
long = pytest.mark.long
"""A whole demo: where all processors are busy, its drift worker, which has a low priority, is late for the acts."""


def start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """Start the command in a pipe."""
    return preloaded.start(
        ["-m", "cli.main", "demo", "--folder", str(folder), *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def is_answering(url: str) -> bool:
    """Whether something answers there."""
    try:
        httpx2.get(url, trust_env=False)
    except httpx2.TransportError:
        return False
    return True


def addresses(output: str) -> list[str]:
    """The addresses of the service and the drift worker."""
    return re.findall(r"(?:serving at|its page is) (http://\S+)", output)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The output of a complete demo and its folder; it was shortened, and both its ports were in use."""
    folder = tmp_path_factory.mktemp("demo") / "new"
    with ExitStack() as stack:
        for port in (SERVICE_PORT, REPORTS_PORT):
            with suppress(OSError):  # already in use
                stack.enter_context(create_server((HOST, port)))
        process = start(folder, *SHORT)
        try:
            output, _ = process.communicate(timeout=200)
        finally:
            process.terminate()
    assert process.returncode == 0, output
    return output, folder


@pytest.fixture(scope="module")
def data(played: tuple[str, Path]) -> dict[str, Any]:
    """The page's data."""
    match = re.search(r'id="data">(.*?)</script>', (played[1] / "index.html").read_text(), re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


@long
@pytest.mark.parametrize(
    "shown",
    [
        r"✓ Generating customers +\d+\.\d s  7,043",
        r"✓ Training the model .* ROC AUC 0\.8",
        rf"Port {SERVICE_PORT} is in use: using \d+",
        rf"Port {REPORTS_PORT} is in use: using \d+",
        r"✓ Starting the service .* serving at http://127\.0\.0\.1:\d+",
        r"Act 1 of 6: Normal\.",
        r"Act 6 of 6: Labels arrive\.",
        r" s +\d+/s  p50 .*  share .*  quality",
        r"requests, none failed; [\d,]+ labels\.",
        r"  4\. Slow scoring: p95 [\d.]+ ms",
        r"Result: Retrain the model\. .* no better than chance",
        r"Open \S+index\.html in a browser\.",
    ],
)
def test_the_output_is_plain_lines(played: tuple[str, Path], shown: str) -> None:
    """In a pipe every stage, act and figure is a line of its own, up to the result."""
    assert re.search(shown, played[0]), played[0]
    assert "\x1b" not in played[0]


@long
def test_all_processes_have_ended(played: tuple[str, Path]) -> None:
    """After the demo nothing answers at the addresses of the service and the drift worker."""
    found = addresses(played[0])
    assert len(found) == 2
    assert not any(map(is_answering, found))


@long
def test_only_one_act_is_slow(data: dict[str, Any]) -> None:
    """p95 is that of the fault while it is active; in all other acts p50 is far below.

    Their p95 is not checked, because one pause of the machine raises it.
    """
    latency_ms = {act["act"]["key"]: act["figures"]["latency"] for act in data["acts"]}
    assert latency_ms.pop("slow")["p95"] > 50
    assert max(each["p50"] for each in latency_ms.values()) < 50
    score = next(span for span in data["slow"] if span["name"] == "score")
    start, end = (datetime.fromisoformat(score[name]) for name in ("start_time", "end_time"))
    assert end - start >= timedelta(milliseconds=80)


@long
def test_the_last_run_finds_a_useless_model(data: dict[str, Any]) -> None:
    """The last comparison finds no drift, but labels show a model that is no better than chance."""
    last = data["runs"][-1]
    assert (last["recommendation"], last["verdicts"]["performance"]["state"]) == ("RETRAIN", "act")
    assert last["share"] < 0.3
    assert (
        last["performance"]["figures"]["roc_auc"]["current"]
        < 0.6
        < last["performance"]["figures"]["roc_auc"]["reference"]
    )


@long
def test_the_page_has_the_measured_data(played: tuple[str, Path], data: dict[str, Any]) -> None:
    """The page's runs are those of the reports, its trace is in the spans file, its requests are those sent."""
    folder = played[1]
    results = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("reports/runs/*/result.json")}
    assert {run["run_id"]: run["share"] for run in data["runs"]} == {
        name: each["share"] for name, each in results.items()
    }
    assert data["slow"][0]["context"]["span_id"] in (folder / "spans.jsonl").read_text()
    match = re.search(r"([\d,]+) requests, ", played[0])
    assert match is not None
    assert int(match[1].replace(",", "")) == data["requests"]


@long
def test_every_link_has_its_file(played: tuple[str, Path]) -> None:
    """All linked files exist, including Evidently's reports."""
    links = re.findall(r'<a[^>]+href="([^"]+)"', (played[1] / "index.html").read_text())
    assert any(link.endswith("/report.html") for link in links)
    assert [link for link in links if not (played[1] / link).is_file()] == []


@long
@pytest.mark.parametrize(
    ("number", "line"),
    [
        pytest.param(signal.SIGTERM, "✓ Generating", id="SIGTERM in training"),
        pytest.param(signal.SIGINT, "Act 1", id="Ctrl-C in act 1"),
    ],
)
def test_an_interrupted_demo_leaves_no_processes(tmp_path: Path, number: signal.Signals, line: str) -> None:
    """SIGTERM or Ctrl-C in a second run ends it with exit code 130 and no process left; the old page is gone."""
    earlier = Workspace(tmp_path)
    earlier.marker.touch()
    earlier.page.touch()
    process = start(tmp_path, *SHORT)
    seen = []
    try:
        assert process.stdout is not None
        for each in process.stdout:
            seen.append(each)
            if each.startswith(line):
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    output = "".join(seen) + rest
    assert process.returncode == 130, output
    assert "Stopped. The files created so far are in" in output
    assert len(addresses(output)) == (2 if line == "Act 1" else 0)
    assert not any(map(is_answering, addresses(output)))
    assert not earlier.page.exists()


def test_a_folder_with_other_files_is_rejected(tmp_path: Path) -> None:
    """A folder that no demo created ends with exit code 2 and is unchanged."""
    (tmp_path / "thesis.txt").write_text("dear")
    result = CliRunner().invoke(app, ["demo", "--folder", str(tmp_path)])
    assert (result.exit_code, "was not created by a demo" in result.stderr) == (2, True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"thesis.txt": "dear"}
