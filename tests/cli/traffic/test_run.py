from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cli.commands.ingest import open_snapshots
from leeway.data.population import Population, population
from leeway.model.bundle import Bundle
from tests.cli.traffic.commands import LIMIT_S, command, number, stored, traffic
from tests.service.processes import Server, environment, eventually, otlp_sink, running

AS_OF = date(2026, 1, 31)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service keeps its data."""
    return tmp_path_factory.mktemp("traffic")


@pytest.fixture(scope="module")
def server(bundle: Bundle, folder: Path) -> Iterator[Server]:
    """A service that knows the whole built-in population."""
    people = population()
    url = environment(bundle, folder)["LEEWAY_DATABASE_URL"]
    open_snapshots(url).ingest(AS_OF, people.user_ids, people.columns, people.labels)
    with running(folder, environment(bundle, folder)) as started:
        assert started.url
        yield started


def test_realistic_requests_are_answered(bundle: Bundle, folder: Path, server: Server) -> None:
    """A short run without drift or bad input ends well, and shows counts, latencies and where the rows come from."""
    code, out, err = traffic(bundle, folder, server.url, "--duration", "2", "--rate", "40")
    assert (code, err) == (0, "")
    assert re.search(r"^http://127\.0\.0\.1:\d+ serves churn \S+: 40 requests/s for 2 s\.$", out, re.MULTILINE)
    sent = number(out, r"(\d+) requests in")
    assert 50 < sent < 110
    assert f"{sent} answered, 0 errors" in out
    for name in ("by customer", "by features", "batches", "all of these"):
        assert re.search(rf"^{name} +\d+ +[\d.,]+ +[\d.,]+ +[\d.,]+ +[\d.,]+$", out, re.MULTILINE), out


def test_the_service_recorded_what_was_sent(bundle: Bundle, folder: Path, server: Server) -> None:
    """Drifted rows reach the service: rebuffering up, by features; and the true labels come after their delay."""
    before = stored(folder, "SELECT count(*) FROM predictions") if (folder / "leeway.db").exists() else 0
    flags = ("--duration", "2", "--rate", "40", "--drift", "1", "--drift-after", "0", "--concept-drift", "1")
    code, out, _ = traffic(bundle, folder, server.url, *flags, "--labels", "--label-delay", "0.5", "--mix", "1/1/0")
    sent, posted = number(out, r"(\d+) requests in"), number(out, r"Labels: (\d+) posted")
    assert (code, posted) == (0, sent)
    assert number(out, r"Drift: (\d+) of the requests drifted") == sent
    assert eventually(lambda: stored(folder, "SELECT count(*) FROM predictions") >= before + sent)
    assert stored(folder, "SELECT count(*) FROM prediction_labels") == sent
    mean = "SELECT 100 * avg(rebuffer_events_7d) FROM (SELECT * FROM predictions ORDER BY prediction_id DESC LIMIT {})"
    assert stored(folder, mean.format(sent)) > 300  # the population's is 2.3


def test_bad_input_is_refused(bundle: Bundle, folder: Path, server: Server) -> None:
    """Every kind of bad input is refused by a real service, and no refusal is an error."""
    code, out, err = traffic(bundle, folder, server.url, "--duration", "2", "--rate", "40", "--bad-input", "0.5")
    assert (code, err) == (0, "")
    assert number(out, r"Bad input: (\d+) of") > 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_being_stopped_ends_with_the_summary(
    bundle: Bundle, folder: Path, server: Server, number: signal.Signals
) -> None:
    """Traffic without end goes on, says so every few seconds, and ends on a signal with its summary and 0."""
    process = command(bundle, folder, server.url, "--duration", "0", "--rate", "20", PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "/s  errors" in line)
        started_s = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert re.match(r" +\d s  [\d.]+/s  errors 0  drift 0\.00  p50 [\d.,]+ ms  p95 [\d.,]+ ms  p99 [\d.,]+ ms$", line)
    assert (process.returncode, err) == (0, "")
    assert "answered, 0 errors" in out
    assert time.monotonic() - started_s < 5


def test_more_errors_than_allowed_end_in_1(bundle: Bundle, folder: Path, server: Server) -> None:
    """Requests beyond the limit in flight are errors; more of them than allowed are told, and end in exit code 1."""
    flags = ("--duration", "1", "--rate", "500", "--max-in-flight", "1")
    code, out, err = traffic(bundle, folder, server.url, *flags, "--max-errors", "3")
    assert code == 1
    errors = number(out, r"answered, (\d+) errors")
    assert errors > 3
    assert f"Errors: {errors} × not sent: too many under way." in out
    assert err == f"leeway: {errors} errors, more than --max-errors 3\n"
    assert traffic(bundle, folder, server.url, *flags, "--max-errors", "100000")[0] == 0


def test_customers_of_a_file_are_asked_for(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """With --users only these customers are asked for; requests by features give what the service knows of them."""
    chosen, env = people.user_ids[5:8], environment(bundle, tmp_path)
    (tmp_path / "users.txt").write_text("\n".join([*chosen, "", chosen[0]]))
    open_snapshots(env["LEEWAY_DATABASE_URL"]).ingest(AS_OF, people.user_ids, people.columns, None)
    flags = ("--users", str(tmp_path / "users.txt"), "--duration", "1", "--rate", "30", "--mix", "1/1/0")
    with running(tmp_path / "service", env) as own:
        code, out, err = traffic(bundle, tmp_path, own.url, *flags)
        asked = number(out, r"(\d+) requests in") + len(chosen)  # it asks for each of them beforehand
        assert eventually(lambda: stored(tmp_path, "SELECT count(*) FROM predictions") == asked)
    assert (code, err) == (0, "")
    assert stored(tmp_path, "SELECT count(DISTINCT user_id) FROM predictions") == len(chosen)
    assert stored(tmp_path, "SELECT count(DISTINCT monthly_fee) FROM predictions") == len(chosen)


@pytest.mark.parametrize(
    ("text", "reason"), [("", "holds no ids"), ("nobody-1\nnobody-2\n", "knows none of the customers")]
)
def test_a_file_of_strangers_is_said(
    bundle: Bundle, folder: Path, server: Server, tmp_path: Path, text: str, reason: str
) -> None:
    """A file that holds no customer of the service's ends with exit code 2 and the reason."""
    (tmp_path / "users.txt").write_text(text)
    code, _, err = traffic(bundle, folder, server.url, "--users", str(tmp_path / "users.txt"))
    assert (code, reason in err, "Traceback" in err) == (2, True, False)


def test_a_service_without_our_customers_is_asked_by_features(bundle: Bundle, tmp_path: Path) -> None:
    """Where the service knows nobody by id, traffic says so and goes by features alone."""
    with running(tmp_path / "service", environment(bundle, tmp_path)) as empty:
        code, out, err = traffic(bundle, tmp_path, empty.url, "--duration", "1", "--rate", "30")
    assert (code, err) == (0, "")
    assert "knows 0 of 20 customers tried: all requests go by features" in out
    assert "by customer" not in out


def test_another_schema_is_served_by_its_ranges(awkward_bundle: Bundle, tmp_path: Path) -> None:
    """Against a model of another schema rows are drawn from what it saw; drift, bad input and labels work."""
    flags = ("--duration", "1.5", "--rate", "40", "--drift", "1", "--bad-input", "0.2", "--labels")
    with running(tmp_path / "service", environment(awkward_bundle, tmp_path)) as other:
        code, out, err = traffic(awkward_bundle, tmp_path, other.url, *flags)
    assert (code, err) == (0, "")
    assert "rows drawn from the schema's ranges" in out
    assert "Labels: " in out
    assert "the model's own probabilities" in out


def test_every_request_is_the_root_of_its_trace(bundle: Bundle, tmp_path: Path) -> None:
    """With a Collector each request's CLIENT span is above the service's; no span holds a customer's id."""
    with ExitStack() as stack:
        sink, address = stack.enter_context(otlp_sink())
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        started = stack.enter_context(running(tmp_path / "service", environment(bundle, tmp_path, **told)))
        code, out, _ = traffic(bundle, tmp_path, started.url, "--duration", "1", "--rate", "20", **told)
        sent = number(out, r"(\d+) requests in")
        assert code == 0

        def below() -> Counter[bytes]:
            """How many server spans hang below each span; those of what was asked beforehand are roots."""
            found = (span for span in sink.spans() if span.kind == Span.SPAN_KIND_SERVER and span.parent_span_id)
            return Counter(span.parent_span_id for span in found)

        assert eventually(lambda: below().total() >= sent)
        clients = {span.span_id for span in sink.spans() if span.kind == Span.SPAN_KIND_CLIENT}
        resources = {
            attribute.value.string_value
            for each in sink.resource_spans
            for attribute in each.resource.attributes
            if attribute.key == "service.name"
        }
        told_text = "".join(str(span) for span in sink.spans())
    assert len(clients) == sent
    assert below() == dict.fromkeys(clients, 1)
    assert resources == {"leeway-traffic", "leeway-service"}
    assert "7590-VHVEG" in population(customers=1).user_ids
    assert not [each for each in population().user_ids if each in told_text]
