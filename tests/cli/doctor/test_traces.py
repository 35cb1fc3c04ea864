from __future__ import annotations

import json
from pathlib import Path
from threading import Timer

import pytest

from cli.doctor.check import CheckResult, Deadline
from cli.doctor.service import SyntheticPrediction
from cli.doctor.traces import TraceOrigin, arrival, length
from leeway.settings import DoctorSettings
from tests.cli.doctor.replies import trace
from tests.cli.stub_server import JsonReply, json_server
from tests.service.processes import closed_port

TRACE = "a" * 32
SENT = SyntheticPrediction("p", TRACE)
PATH = f"/api/v3/traces/{TRACE}"


def checked(
    sent: SyntheticPrediction = SENT, *, before: int = 0, wait_s: float = 0.1, **settings: object
) -> CheckResult:
    """The result of the check."""
    return arrival(DoctorSettings.read(**settings), sent, before, 5, Deadline(wait_s))[0]


def in_jaeger(reply: JsonReply, wait_s: float = 0.1) -> CheckResult:
    """The same, with this answer of Jaeger."""
    with json_server({PATH: reply}) as server:
        return checked(jaeger_url=server.url, wait_s=wait_s)


def a_line(trace_id: str = TRACE) -> str:
    """A span in the spans file."""
    span = {"context": {"trace_id": f"0x{trace_id}"}, "resource": {"attributes": {"service.version": "0.1.0"}}}
    return json.dumps(span) + "\n"


def test_a_trace_in_jaeger_is_ok() -> None:
    """The result has its number of spans and the service's version."""
    result = in_jaeger((200, trace(3)))
    assert (result.state, result.version) == ("ok", "0.1.0")
    assert TRACE in result.found
    assert "3 spans" in result.found


def test_a_trace_is_waited_for() -> None:
    """Jaeger may take a while to have it."""
    replies = iter([(404, {}), (404, {}), (200, trace(2))])
    assert in_jaeger(lambda _: next(replies), wait_s=10).state == "ok"


@pytest.mark.parametrize("reply", [(404, {}), (200, trace(0)), (200, trace(2, "leeway-traffic"))])
def test_a_missing_trace_fails(reply: JsonReply) -> None:
    """So does a trace without the service's spans; the next step names the Collector and sampling."""
    result = in_jaeger(reply)
    assert (result.state, result.found) == ("failed", f"Jaeger has no {TRACE} after 0.1 s")
    assert "otel-collector" in str(result.next_step)
    assert "OTEL_TRACES_SAMPLER" in str(result.next_step)


@pytest.mark.parametrize("reply", [(500, "<html>"), (200, {"result": None})])
def test_an_unexpected_answer_fails(reply: JsonReply) -> None:
    """An error of Jaeger is not a missing trace."""
    result = in_jaeger(reply)
    assert (result.state, result.next_step) == ("failed", "fix jaeger first")


def test_an_unreachable_jaeger_fails() -> None:
    """The next step is to fix Jaeger."""
    result = checked(jaeger_url=f"http://127.0.0.1:{closed_port()}")
    assert (result.state, result.next_step) == ("failed", "fix jaeger first")


def test_a_prediction_without_a_trace_id_fails() -> None:
    """Jaeger is set up, but the service's telemetry is off."""
    result = checked(SyntheticPrediction("p", None), jaeger_url="http://127.0.0.1:9")
    assert (result.state, "telemetry is off" in result.found) == ("failed", True)
    assert "OTEL_SDK_DISABLED" in str(result.next_step)


def test_without_a_backend_the_check_is_skipped() -> None:
    """The result says which variables to set."""
    result = checked()
    assert result.state == "skipped"
    assert "LEEWAY_JAEGER_URL" in result.found
    assert "LEEWAY_SPANS_FILE" in result.found


def test_a_trace_in_the_spans_file_is_ok(tmp_path: Path) -> None:
    """Only its own spans are counted."""
    (tmp_path / "spans.jsonl").write_text(a_line() + a_line("b" * 32) + a_line())
    result = checked(spans_file=tmp_path / "spans.jsonl")
    assert (result.state, result.version, "2 spans" in result.found) == ("ok", "0.1.0", True)


def test_only_new_lines_are_read(tmp_path: Path) -> None:
    """A file that has grown for weeks is not read from its start."""
    file = tmp_path / "spans.jsonl"
    file.write_text("not a span\n")
    before = length(file)
    with file.open("a") as more:
        more.write(a_line())
    assert checked(spans_file=file, before=before).state == "ok"


def test_the_spans_file_may_be_created_later(tmp_path: Path) -> None:
    """It is created with the first span, and its last line may be incomplete."""
    file = tmp_path / "spans.jsonl"
    writing = Timer(0.3, lambda: file.write_text(a_line() + a_line()[:20]))
    writing.start()
    result = checked(spans_file=file, before=length(file), wait_s=10)
    writing.join()
    assert result.state == "ok"


def test_another_spans_file_fails(tmp_path: Path) -> None:
    """If it never gets the trace, or is no spans file, the next step is to use the same file for both."""
    file = tmp_path / "spans.jsonl"
    for content, found in (("", "has no"), (a_line("b" * 32), "has no"), ("dear diary\n", "is not a spans file")):
        file.write_text(content)
        result = checked(spans_file=file)
        assert (result.state, found in result.found) == ("failed", True)
        assert "LEEWAY_SPANS_FILE" in str(result.next_step)


# --- its process --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "origin"),
    [
        ({"namespace": "leeway", "instance_id": "i"}, TraceOrigin("leeway/leeway-service", "i")),
        ({"instance_id": "i"}, TraceOrigin("leeway-service", "i")),
        ({}, None),
    ],
)
def test_a_trace_in_jaeger_names_its_process(told: dict[str, str], origin: TraceOrigin | None) -> None:
    """The origin has the labels that Prometheus uses, to distinguish its count from others."""
    with json_server({PATH: (200, trace(2, **told))}) as server:
        settings = DoctorSettings.read(jaeger_url=server.url)
        assert arrival(settings, SENT, 0, 5, Deadline(0.1))[1] == origin


def test_a_span_in_the_file_names_its_process(tmp_path: Path) -> None:
    """Without Jaeger, the origin comes from the file."""
    path, told = tmp_path / "spans.jsonl", {"service.name": "s", "service.namespace": "n", "service.instance.id": "i"}
    path.write_text(json.dumps({"context": {"trace_id": f"0x{TRACE}"}, "resource": {"attributes": told}}) + "\n")
    found = arrival(DoctorSettings.read(spans_file=path), SENT, 0, 5, Deadline(0.1))
    assert found[1] == TraceOrigin("n/s", "i")
