"""The monthly flow, in a project of its own: PostgreSQL, set-up, Prefect's server, and the process that runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import pytest
import yaml

from benchmarks.live.ports import PORTS, published_at
from benchmarks.live.stack import PREFECT, Stack, StackError, eventually, get
from leeway.data.population import population
from tests.cli.extracts import write_extract
from tests.stack.conftest import SINK, SINK_SERVICE

pytestmark = pytest.mark.stack

REFERENCE, CURRENT, MISSING = "2024-01-31", "2024-02-29", "2024-03-31"
CUSTOMERS: Final = 700
FLOW: Final = ("python", "/opt/prefect/flows/monitor_flow.py")
FILES: Final = {f"drift_{REFERENCE}_vs_{CURRENT}.{kind}" for kind in ("html", "json")}


def read(path: str, **parameters: str) -> Any:  # noqa: ANN401 (JSON)
    """Get from Prefect's API."""
    return get(f"{PREFECT}/api/{path}", **parameters).raise_for_status().json()


def ask(path: str, **document: object) -> Any:  # noqa: ANN401 (JSON)
    """Post to Prefect's API, with the token that its own page and clients get first."""
    headers = {"Prefect-Csrf-Client": "test", "Prefect-Csrf-Token": read("csrf-token", client="test")["token"]}
    reply = httpx2.post(f"{PREFECT}/api/{path}", json=document, headers=headers, timeout=10, trust_env=False)
    return reply.raise_for_status().json()


@dataclass(frozen=True)
class FlowRun:
    """A finished flow run in Prefect's API."""

    id: str
    state: str
    message: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> FlowRun:
        """Read the API's document."""
        return cls(document["id"], document["state"]["type"], document["state"]["message"])


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running project, with two ingested months and a receiver of webhooks."""
    folder = tmp_path_factory.mktemp("flow")
    for number, as_of in enumerate((REFERENCE, CURRENT)):
        write_extract(folder / "extract" / as_of, population(number, customers=CUSTOMERS))
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)  # read there by another user
    webhook = folder / "webhook.yaml"
    services = {SINK: SINK_SERVICE, "prefect": {"environment": {"LEEWAY_WEBHOOK_URL": f"http://{SINK}:9095/"}}}
    webhook.write_text(yaml.safe_dump({"services": services}), encoding="utf-8")
    stack = Stack(
        "leeway-test-flow",
        frozenset(),
        overrides=[webhook, published_at(PORTS, folder / "ports.yaml")],
        profile="prefect",
        environment={"LEEWAY_EXTRACT": str(folder / "extract")},
    )
    stack.down()
    try:
        stack.compose("build", "drift", "prefect", timeout_s=1_200)
        stack.compose("up", "--detach", "--wait", "prefect", SINK)
        yield stack
    finally:
        stack.down()


def posted(flows: Stack, kind: str) -> list[dict[str, Any]]:
    """The events of a type that the receiver got."""
    events = [json.loads(line) for line in flows.logs(SINK).splitlines() if line.startswith("{")]
    return [event for event in events if event["type"] == f"io.leeway.drift.months.{kind}"]


def run_by_hand(flows: Stack, current: str) -> str:
    """Run the flow as a user would, and return what it prints on standard output."""
    return flows.compose(
        "exec",
        "--no-TTY",
        "-e",
        "REPORT_DIR=/reports",
        "prefect",
        *FLOW,
        "--reference",
        REFERENCE,
        "--current",
        current,
    )


@pytest.fixture(scope="module")
def printed(flows: Stack) -> list[str]:
    """What the flow prints for two months, by hand."""
    return run_by_hand(flows, CURRENT).splitlines()


def flow_runs() -> list[FlowRun]:
    """All finished flow runs, newest first."""
    documents = ask("flow_runs/filter", sort="START_TIME_DESC")
    return [FlowRun.of(each) for each in documents if each["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED"}]


def test_the_flow_prints_the_commands_lines(flows: Stack, printed: list[str]) -> None:
    """They are those of `leeway drift run`, and the report is in the folder as HTML and JSON."""
    assert set(flows.execute("prefect", "ls", "/reports").split()) >= FILES
    command = ("leeway", "drift", "run", "--reference", REFERENCE, "--current", CURRENT, "--report-dir", "/reports")
    assert printed == flows.execute("prefect", *command, "--quiet").splitlines()


def test_a_completed_run_has_an_artifact(flows: Stack, printed: list[str]) -> None:
    """In Prefect's API the run is COMPLETED with the recommendation; the artifact has the verdicts and the report."""
    recommendation = printed[1].rpartition(" -> ")[2]
    (run,) = [each for each in flow_runs() if each.state == "COMPLETED"]
    assert run.message == f"{CURRENT} against {REFERENCE}: {recommendation}"
    wanted = {"flow_run_id": {"any_": [run.id]}, "key": {"any_": ["drift-verdicts"]}}
    (artifact,) = ask("artifacts/filter", artifacts=wanted)
    assert artifact["type"] == "markdown"
    assert "| covariate |" in artifact["data"]
    assert f"](http://127.0.0.1:{PORTS['drift']}/drift_{REFERENCE}_vs_{CURRENT}.html)" in artifact["data"]
    (event,) = eventually(lambda: posted(flows, "compared"), 10)
    assert event["data"]["recommendation"] == recommendation


def test_a_missing_month_fails_with_the_reason(flows: Stack) -> None:
    """The exit code is 1, the run is FAILED, and its message and the webhook's event name the month."""
    with pytest.raises(StackError, match=f"no snapshots as of {MISSING}; loaded: {REFERENCE}, {CURRENT}"):
        run_by_hand(flows, MISSING)
    (run,) = [each for each in flow_runs() if each.state != "COMPLETED"]
    assert run.state == "FAILED"
    assert f"no snapshots as of {MISSING}" in run.message
    (event,) = eventually(lambda: posted(flows, "failed"), 10)
    assert (event["id"], event["data"]["reason"]) == (run.id, run.message)


def test_the_deployment_runs_each_month(flows: Stack, printed: list[str]) -> None:
    """It has an active monthly schedule, and the process that serves it runs what the API asks for."""
    deployment = read("deployments/name/monitor/monthly")
    (schedule,) = deployment["schedules"]
    assert (schedule["active"], schedule["schedule"]["cron"]) == (True, "0 6 2 * *")
    months = {"reference": REFERENCE, "current": CURRENT}
    created = ask(f"deployments/{deployment['id']}/create_flow_run", parameters=months)
    eventually(lambda: [each for each in flow_runs() if each.id == created["id"]], 90)
    (run,) = [each for each in flow_runs() if each.id == created["id"]]
    assert run.state == "COMPLETED", run.message
    assert printed[0] in flows.logs("prefect")


@pytest.mark.usefixtures("flows")
def test_pages_of_other_sites_cannot_call_the_api() -> None:
    """A request without a token is rejected, also one that a browser sends without asking."""
    reply = httpx2.post(f"{PREFECT}/api/flow_runs/filter", content="{}", timeout=10, trust_env=False)
    assert reply.status_code == httpx2.codes.FORBIDDEN
