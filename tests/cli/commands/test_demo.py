from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import create_server
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from cli.demo.story import SHORTEST_S
from cli.demo.workshop import HOST, REPORTS_PORT, SERVICE_PORT
from cli.main import app

ROOT = Path(__file__).parents[3]
SHORT = ("--duration", str(SHORTEST_S), "--rate", "60")
"""Acts of two to three seconds."""


def start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """Start the command in a pipe."""
    command = [sys.executable, "-m", "cli.main", "demo", "--folder", str(folder), *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def is_answering(url: str) -> bool:
    """Whether somebody listens there."""
    try:
        httpx2.get(url, trust_env=False)
    except httpx2.TransportError:
        return False
    return True


def addresses(output: str) -> list[str]:
    """Where the service and the drift worker answered."""
    return re.findall(r"(?:serving on|its page is) (http://\S+)", output)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo printed, and its folder: told to the end, shortened, with both its ports taken by somebody else."""
    folder = tmp_path_factory.mktemp("demo") / "new"
    with ExitStack() as stack:
        for port in (SERVICE_PORT, REPORTS_PORT):
            with suppress(OSError):  # somebody else has it already
                stack.enter_context(create_server((HOST, port)))
        process = start(folder, *SHORT)
        try:
            output, _ = process.communicate(timeout=200)
        finally:
            process.terminate()
    assert process.returncode == 0, output
    return output, folder


@pytest.fixture(scope="module")
def data(told: tuple[str, Path]) -> dict[str, Any]:
    """What the page holds as JSON."""
    match = re.search(r'id="data">(.*?)</script>', (told[1] / "index.html").read_text(), re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


@pytest.mark.parametrize(
    "shown",
    [
        r"✓ Making up customers +\d+\.\d s  7,043",
        r"✓ Training the model .* ROC AUC 0\.8",
        rf"Port {SERVICE_PORT} is taken by somebody else: using \d+",
        rf"Port {REPORTS_PORT} is taken by somebody else: using \d+",
        r"✓ Starting the service .* serving on http://127\.0\.0\.1:\d+",
        r"Act 1 of 6: Calm\.",
        r"Act 6 of 6: Labels arrive\.",
        r" s +\d+/s  p50 .*  share .*  quality",
        r"requests were sent, and none of them failed",
        r"  4\. Scoring slows: p95 [\d.]+ ms",
        r"In the end: Retrain the model\. .* no better than a coin",
        r"Look at \S+index\.html in a browser\.",
    ],
)
def test_story_is_told_in_plain_lines(told: tuple[str, Path], shown: str) -> None:
    """In a pipe every stage, act and figure is a line of its own, to the model that is a coin."""
    assert re.search(shown, told[0]), told[0]
    assert "\x1b" not in told[0]


def test_nothing_runs_afterwards(told: tuple[str, Path]) -> None:
    """After the demo nobody answers where the service and the drift worker did."""
    found = addresses(told[0])
    assert len(found) == 2
    assert not any(map(is_answering, found))


def test_slowness_is_seen_in_its_act_alone(data: dict[str, Any]) -> None:
    """p95 is that of the fault while it is in force; before and after it half of the requests are far from it.

    Of other acts not p95, since a machine that stands still for a moment moves it.
    """
    latency_ms = {act["key"]: act["figures"]["latency_ms"] for act in data["acts"]}
    assert latency_ms.pop("slow")["p95"] > 50
    assert max(each["p50"] for each in latency_ms.values()) < 50
    score = next(span for span in data["slow_trace"] if span["name"] == "score")
    assert score["ms"] >= 80


def test_page_ends_with_green_inputs_and_a_coin(data: dict[str, Any]) -> None:
    """The last comparison finds no drift, and a model that labels show to be no better than a coin."""
    last = data["runs"][-1]
    assert (last["recommendation"], last["verdicts"]["performance"], last["share"] < 0.3) == ("RETRAIN", "act", True)
    assert last["roc_auc"] < 0.6 < last["roc_auc_card"]


def test_page_is_what_was_measured(told: tuple[str, Path], data: dict[str, Any]) -> None:
    """The page's runs are those in the reports, its trace one of the spans file, its requests those that were sent."""
    folder = told[1]
    results = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("reports/runs/*/result.json")}
    assert {run["run_id"]: run["share"] for run in data["runs"]} == {
        name: each["share"] for name, each in results.items()
    }
    assert data["slow_trace"][0]["span_id"] in (folder / "spans.jsonl").read_text()
    match = re.search(r"([\d,]+) requests were sent", told[0])
    assert match is not None
    assert int(match[1].replace(",", "")) == data["requests"]


def test_every_link_leads_to_a_file(told: tuple[str, Path]) -> None:
    """What the page links to lies beside it, Evidently's reports among it."""
    links = re.findall(r'<a[^>]+href="([^"]+)"', (told[1] / "index.html").read_text())
    assert any(link.endswith("/report.html") for link in links)
    assert [link for link in links if not (told[1] / link).is_file()] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_end_at_any_time_leaves_nothing_behind(told: tuple[str, Path], number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM in a second run ends it with exit code 130 and its processes with it; the old page is gone."""
    process = start(told[1], *SHORT)
    seen = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            if line.startswith("Act 1"):
                break
        process.send_signal(number)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    output = "".join(seen) + rest
    assert process.returncode == 130, output
    assert "Stopped; what was made is in" in output
    assert len(addresses(output)) == 2
    assert not any(map(is_answering, addresses(output)))
    assert not (told[1] / "index.html").exists()


def test_a_folder_of_other_things_is_spared(tmp_path: Path) -> None:
    """A folder that no demo made ends with exit code 2, and stays as it is."""
    (tmp_path / "thesis.txt").write_text("dear")
    result = CliRunner().invoke(app, ["demo", "--folder", str(tmp_path)])
    assert (result.exit_code, "no demo made it" in result.stderr) == (2, True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"thesis.txt": "dear"}
