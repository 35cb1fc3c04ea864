from __future__ import annotations

import json
from pathlib import Path
from threading import Timer

import pytest

from cli.doctor.asking import Deadline
from cli.doctor.finding import Finding
from cli.doctor.service import Sent
from cli.doctor.traces import Origin, arrival, length
from leeway.settings import DoctorSettings
from tests.cli.doctor.backends import Reply, backend, trace
from tests.service.processes import closed_port

TRACE = "a" * 32
SENT = Sent("p", TRACE)
PATH = f"/api/v3/traces/{TRACE}"


def looked_for(sent: Sent = SENT, *, before: int = 0, wait_s: float = 0.1, **settings: object) -> Finding:
    """What comes of looking for its trace."""
    return arrival(DoctorSettings.read(**settings), sent, before, 5, Deadline(wait_s))[0]


def in_jaeger(reply: Reply, wait_s: float = 0.1) -> Finding:
    """The same, where Jaeger answers like this."""
    with backend({PATH: reply}) as there:
        return looked_for(jaeger_url=there.url, wait_s=wait_s)


def a_line(trace_id: str = TRACE) -> str:
    """A span as the spans file holds it."""
    span = {"context": {"trace_id": f"0x{trace_id}"}, "resource": {"attributes": {"service.version": "0.1.0"}}}
    return json.dumps(span) + "\n"


def test_a_trace_in_jaeger_is_well() -> None:
    """With how many spans it has, and the version of the service that made them."""
    finding = in_jaeger((200, trace(3)))
    assert (finding.state, finding.version) == ("ok", "0.1.0")
    assert TRACE in finding.found
    assert "3 spans" in finding.found


def test_a_trace_is_waited_for() -> None:
    """Jaeger has it only after a while."""
    replies = iter([(404, {}), (404, {}), (200, trace(2))])
    assert in_jaeger(lambda _: next(replies), wait_s=10).state == "ok"


@pytest.mark.parametrize("reply", [(404, {}), (200, trace(0)), (200, trace(2, "leeway-traffic"))])
def test_a_trace_that_never_comes_is_a_failure(reply: Reply) -> None:
    """Nor is one that holds spans of others alone: the next step leads to the Collector, and to sampling."""
    finding = in_jaeger(reply)
    assert (finding.state, finding.found) == ("failed", f"Jaeger has no {TRACE} after 0.1 s")
    assert "otel-collector" in str(finding.next_step)
    assert "OTEL_TRACES_SAMPLER" in str(finding.next_step)


@pytest.mark.parametrize("reply", [(500, "<html>"), (200, {"result": None})])
def test_a_jaeger_that_answers_otherwise_is_the_first_to_see_to(reply: Reply) -> None:
    """An error is no absence."""
    finding = in_jaeger(reply)
    assert (finding.state, finding.next_step) == ("failed", "see to jaeger first")


def test_a_jaeger_that_is_away_is_the_first_to_see_to() -> None:
    """Whatever became of the trace."""
    finding = looked_for(jaeger_url=f"http://127.0.0.1:{closed_port()}")
    assert (finding.state, finding.next_step) == ("failed", "see to jaeger first")


def test_an_answer_without_a_trace_is_a_failure_where_one_is_looked_for() -> None:
    """Jaeger is there, and the service tells it nothing."""
    finding = looked_for(Sent("p", None), jaeger_url="http://127.0.0.1:9")
    assert (finding.state, "telemetry off" in finding.found) == ("failed", True)
    assert "OTEL_SDK_DISABLED" in str(finding.next_step)


def test_where_traces_go_nowhere_nothing_is_looked_for() -> None:
    """It is said what to set."""
    finding = looked_for()
    assert finding.state == "skipped"
    assert "LEEWAY_JAEGER_URL" in finding.found
    assert "LEEWAY_SPANS_FILE" in finding.found


def test_a_trace_in_the_spans_file_is_well(tmp_path: Path) -> None:
    """Its spans are counted, and no other's."""
    (tmp_path / "spans.jsonl").write_text(a_line() + a_line("b" * 32) + a_line())
    finding = looked_for(spans_file=tmp_path / "spans.jsonl")
    assert (finding.state, finding.version, "2 spans" in finding.found) == ("ok", "0.1.0", True)


def test_only_what_was_written_since_is_read(tmp_path: Path) -> None:
    """A file that grew for weeks is not read again at every look."""
    file = tmp_path / "spans.jsonl"
    file.write_text("what no span looks like\n")
    before = length(file)
    with file.open("a") as more:
        more.write(a_line())
    assert looked_for(spans_file=file, before=before).state == "ok"


def test_a_spans_file_may_come_late(tmp_path: Path) -> None:
    """It is made with the first span, and its last line may be half written."""
    file = tmp_path / "spans.jsonl"
    writing = Timer(0.3, lambda: file.write_text(a_line() + a_line()[:20]))
    writing.start()
    finding = looked_for(spans_file=file, before=length(file), wait_s=10)
    writing.join()
    assert finding.state == "ok"


def test_a_spans_file_of_somebody_else_is_said(tmp_path: Path) -> None:
    """It never gains our trace, or holds no spans at all: both must be told the same file."""
    file = tmp_path / "spans.jsonl"
    for content, found in (("", "has no"), (a_line("b" * 32), "has no"), ("dear diary\n", "cannot be read as spans")):
        file.write_text(content)
        finding = looked_for(spans_file=file)
        assert (finding.state, found in finding.found) == ("failed", True)
        assert "LEEWAY_SPANS_FILE" in str(finding.next_step)


# --- who made it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "origin"),
    [
        ({"namespace": "leeway", "instance_id": "i"}, Origin("leeway/leeway-service", "i")),
        ({"instance_id": "i"}, Origin("leeway-service", "i")),
        ({}, None),
    ],
)
def test_a_trace_in_jaeger_names_its_process(told: dict[str, str], origin: Origin | None) -> None:
    """As Prometheus calls it, so that its count can be told from others'."""
    with backend({PATH: (200, trace(2, **told))}) as there:
        settings = DoctorSettings.read(jaeger_url=there.url)
        assert arrival(settings, SENT, 0, 5, Deadline(0.1))[1] == origin


def test_a_span_in_the_file_names_its_process(tmp_path: Path) -> None:
    """Where there is no Jaeger."""
    path, told = tmp_path / "spans.jsonl", {"service.name": "s", "service.namespace": "n", "service.instance.id": "i"}
    path.write_text(json.dumps({"context": {"trace_id": f"0x{TRACE}"}, "resource": {"attributes": told}}) + "\n")
    found = arrival(DoctorSettings.read(spans_file=path), SENT, 0, 5, Deadline(0.1))
    assert found[1] == Origin("n/s", "i")
