from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import date
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typer.testing import CliRunner, Result

from cli.main import app
from cli.snapshots import open_snapshots
from leeway.data.population import Population, population
from leeway.model.bundle import Bundle
from tests import preloaded
from tests.cli.stub_server import http, stub_server
from tests.service.processes import ROOT, Server, closed_port, environment, eventually, otlp_sink, running

TRAFFIC = ("-m", "cli.main", "traffic")
LIMIT_S = 60.0


def command(bundle: Bundle, folder: Path, url: str, *flags: str, **changes: str) -> subprocess.Popen[str]:
    """Start `leeway traffic` in a pipe, against `url`."""
    env = environment(bundle, folder, LEEWAY_URL=url, **changes)
    return preloaded.start(
        [*TRAFFIC, *flags], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def traffic(bundle: Bundle, folder: Path, url: str, *flags: str, **changes: str) -> tuple[int, str, str]:
    """Run `leeway traffic`; return its exit code, standard output and standard error."""
    process = command(bundle, folder, url, *flags, **changes)
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    return process.returncode, out, err


def rejected(*flags: str) -> Result:
    """Run `leeway traffic` in this process, with invalid input."""
    result = CliRunner().invoke(app, ["traffic", *flags], env={"COLUMNS": "200", "TERM": "dumb"})
    assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
    return result


def stored(folder: Path, query: str) -> int:
    """A number from the service's database."""
    with closing(sqlite3.connect(folder / "leeway.db")) as connection:
        return int(connection.execute(query).fetchone()[0])


def number(out: str, pattern: str) -> int:
    """A number in the output."""
    match = re.search(pattern, out)
    assert match is not None, out
    return int(match[1].replace(",", ""))


AS_OF = date(2026, 1, 31)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service's folder."""
    return tmp_path_factory.mktemp("traffic")


@pytest.fixture(scope="module")
def server(bundle: Bundle, folder: Path) -> Iterator[Server]:
    """A service with the whole built-in population."""
    people = population()
    url = environment(bundle, folder)["LEEWAY_DATABASE_URL"]
    open_snapshots(url).ingest(AS_OF, people.user_ids, people.columns, people.labels)
    with running(folder, environment(bundle, folder)) as started:
        assert started.url
        yield started


def test_realistic_requests_are_answered(bundle: Bundle, folder: Path, server: Server) -> None:
    """A short run without drift or bad input succeeds, and shows counts, latencies and the origin of the rows."""
    code, out, err = traffic(bundle, folder, server.url, "--duration", "2", "--rate", "40")
    assert (code, err) == (0, "")
    assert re.search(r"^http://127\.0\.0\.1:\d+ serves churn \S+: 40 requests/s for 2 s\.$", out, re.MULTILINE)
    sent = number(out, r"(\d+) requests in")
    assert 50 < sent < 110
    assert f"{sent} answered, 0 errors" in out
    for name in ("by customer", "by features", "batches", "all of these"):
        assert re.search(rf"^{name} +\d+ +[\d.,]+ +[\d.,]+ +[\d.,]+ +[\d.,]+$", out, re.MULTILINE), out


def test_the_service_recorded_what_was_sent(bundle: Bundle, folder: Path, server: Server) -> None:
    """The service records drifted rows, by features, and the true labels after their delay."""
    before = stored(folder, "SELECT count(*) FROM predictions") if (folder / "leeway.db").exists() else 0
    flags = ("--duration", "2", "--rate", "40", "--drift", "1", "--drift-after", "0", "--concept-drift", "1")
    code, out, _ = traffic(bundle, folder, server.url, *flags, "--labels", "--label-delay", "0.5", "--mix", "1/1/0")
    sent, posted = number(out, r"(\d+) requests in"), number(out, r"Labels: (\d+) posted")
    assert (code, posted) == (0, sent)
    assert number(out, r"Drift: (\d+) requests drifted") == sent
    assert eventually(lambda: stored(folder, "SELECT count(*) FROM predictions") >= before + sent)
    assert stored(folder, "SELECT count(*) FROM prediction_labels") == sent
    mean = "SELECT 100 * avg(rebuffer_events_7d) FROM (SELECT * FROM predictions ORDER BY prediction_id DESC LIMIT {})"
    assert stored(folder, mean.format(sent)) > 300  # the population's is 2.3


def test_bad_input_is_rejected(bundle: Bundle, folder: Path, server: Server) -> None:
    """A real service rejects every kind of bad input, and no rejection is an error."""
    code, out, err = traffic(bundle, folder, server.url, "--duration", "2", "--rate", "40", "--bad-input", "0.5")
    assert (code, err) == (0, "")
    assert number(out, r"Bad input: (\d+) of") > 20


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (
            signal.SIGTERM,
            r" +\d s  [\d.]+/s  errors 0  drift 0\.00  p50 [\d.,]+ ms  p95 [\d.,]+ ms  p99 [\d.,]+ ms\n",
        ),
        (signal.SIGINT, r"Features come from the built-in population's customers\.\n"),
    ],
    ids=["SIGTERM after a line of figures", "Ctrl-C at the start"],
)
def test_signals_end_a_run_with_its_summary(
    bundle: Bundle, folder: Path, server: Server, number: signal.Signals, shown: str
) -> None:
    """A run without end prints a line every few seconds, and ends on a signal with its summary and exit code 0."""
    process = command(bundle, folder, server.url, "--duration", "0", "--rate", "20", PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        assert any(re.fullmatch(shown, line) for line in process.stdout)
        time.sleep(0.2)  # some requests are sent
        started_s = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert "answered, 0 errors" in out
    assert time.monotonic() - started_s < 5


def test_more_errors_than_allowed_end_in_1(bundle: Bundle, folder: Path, server: Server) -> None:
    """Requests above the limit in flight are errors; more errors than allowed end in exit code 1."""
    flags = ("--duration", "1", "--rate", "500", "--max-in-flight", "1")
    code, out, err = traffic(bundle, folder, server.url, *flags, "--max-errors", "3")
    assert code == 1
    errors = number(out, r"answered, (\d+) errors")
    assert errors > 3
    assert f"Errors: {errors} × not sent: too many in flight." in out
    assert err == f"leeway: {errors} errors, more than --max-errors 3\n"
    assert traffic(bundle, folder, server.url, *flags, "--max-errors", "100000")[0] == 0


def test_customers_of_a_file_are_requested(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """With --users only these customers are requested; requests by features have their snapshots."""
    chosen, env = people.user_ids[5:8], environment(bundle, tmp_path)
    (tmp_path / "users.txt").write_text("\n".join([*chosen, "", chosen[0]]))
    open_snapshots(env["LEEWAY_DATABASE_URL"]).ingest(AS_OF, people.user_ids, people.columns, None)
    flags = ("--users", str(tmp_path / "users.txt"), "--duration", "1", "--rate", "30", "--mix", "1/1/0")
    with running(tmp_path / "service", env) as own:
        code, out, err = traffic(bundle, tmp_path, own.url, *flags)
        asked = number(out, r"(\d+) requests in") + len(chosen)  # it requests each of them once before
        assert eventually(lambda: stored(tmp_path, "SELECT count(*) FROM predictions") == asked)
    assert (code, err) == (0, "")
    assert stored(tmp_path, "SELECT count(DISTINCT user_id) FROM predictions") == len(chosen)
    assert stored(tmp_path, "SELECT count(DISTINCT monthly_fee) FROM predictions") == len(chosen)


@pytest.mark.parametrize(
    ("text", "reason"), [("", "holds no customer ids"), ("nobody-1\nnobody-2\n", "knows none of the customers")]
)
def test_unknown_customers_are_an_error(
    bundle: Bundle, folder: Path, server: Server, tmp_path: Path, text: str, reason: str
) -> None:
    """A file without known customers ends with exit code 2 and the reason."""
    (tmp_path / "users.txt").write_text(text)
    code, _, err = traffic(bundle, folder, server.url, "--users", str(tmp_path / "users.txt"))
    assert (code, reason in err, "Traceback" in err) == (2, True, False)


def test_a_service_without_our_customers_gets_features(bundle: Bundle, tmp_path: Path) -> None:
    """If the service knows no customer, traffic says so and uses features only."""
    with running(tmp_path / "service", environment(bundle, tmp_path)) as empty:
        code, out, err = traffic(bundle, tmp_path, empty.url, "--duration", "1", "--rate", "30")
    assert (code, err) == (0, "")
    assert "knows 0 of 20 of the built-in customers: all requests go by features" in out
    assert "by customer" not in out


def test_other_schemas_use_their_ranges(awkward_bundle: Bundle, tmp_path: Path) -> None:
    """For a model of another schema, rows are drawn from its ranges; drift, bad input and labels work."""
    flags = ("--duration", "1.5", "--rate", "40", "--drift", "1", "--bad-input", "0.2", "--labels")
    with running(tmp_path / "service", environment(awkward_bundle, tmp_path)) as other:
        code, out, err = traffic(awkward_bundle, tmp_path, other.url, *flags)
    assert (code, err) == (0, "")
    assert "Features come from the schema's ranges" in out
    assert "Labels: " in out
    assert "the model's own answers" in out


def test_every_request_is_the_root_of_its_trace(bundle: Bundle, tmp_path: Path) -> None:
    """With a Collector each request's CLIENT span is the parent of the service's; no span has a customer's id."""
    with ExitStack() as stack:
        sink, address = stack.enter_context(otlp_sink())
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        started = stack.enter_context(running(tmp_path / "service", environment(bundle, tmp_path, **told)))
        code, out, _ = traffic(bundle, tmp_path, started.url, "--duration", "1", "--rate", "20", **told)
        sent = number(out, r"(\d+) requests in")
        assert code == 0

        def below() -> Counter[bytes]:
            """How many server spans each span has as children; those of the preparation are roots."""
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


def test_waits_for_the_service(bundle: Bundle, tmp_path: Path) -> None:
    """A service that starts later is waited for."""
    port = closed_port()
    url = f"http://127.0.0.1:{port}"
    process = command(bundle, tmp_path, url, "--wait", "30", "--duration", "1", PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        with running(tmp_path / "service", environment(bundle, tmp_path, LEEWAY_PORT=str(port))):
            out, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    assert first.startswith(f"Waiting up to 30 s for {url}: the service is unreachable")
    assert (process.returncode, err) == (0, "")
    assert "answered, 0 errors" in out


def test_being_stopped_while_waiting_ends_at_once(bundle: Bundle, tmp_path: Path) -> None:
    """SIGTERM before the service is ready ends the command with a message and exit code 1."""
    url = f"http://127.0.0.1:{closed_port()}"
    process = command(bundle, tmp_path, url, "--wait", "30", PYTHONUNBUFFERED="1")
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, err) == (1, "leeway: stopped before the service was ready\n")


def test_an_unreachable_service_is_an_error() -> None:
    """An address where nothing answers ends with exit code 2 and what to do."""
    result = rejected("--url", f"http://127.0.0.1:{closed_port()}", "--wait", "0")
    unreachable = r"leeway: the service is unreachable: nothing listens at http://\S+"
    assert re.fullmatch(unreachable + r"; start it with `leeway serve`, .*--url.*\n", result.stderr)


@pytest.mark.parametrize("answer", [http(b""), b"220 mail ready\r\n\r\n"], ids=["a web server", "not HTTP"])
def test_other_servers_get_no_traffic(answer: bytes) -> None:
    """Another server is recognized at once: exit code 2."""
    pieces = [answer, b""]  # then it closes the connection
    with stub_server(lambda _: pieces.pop(0)) as other:
        result = rejected("--url", other.url, "--wait", "20")
    assert "is not a Leeway service" in result.stderr


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--mix", "1/2"), "three weights"),
        (("--mix", "0/0/0"), "not all of them 0"),
        (("--mix", "1/nan/1"), "finite"),
        (("--rate", "nan"), "--rate"),
        (("--duration", "inf"), "finite"),
        (("--drift", "1.1"), "--drift"),
        (("--concept-drift", "1"), "add --labels"),
        (("--url", "ftp://x"), "not an http or https address"),
        (("--users", "no/such/file"), "cannot read"),
    ],
)
def test_invalid_flags_are_errors(flags: tuple[str, ...], reason: str) -> None:
    """An invalid flag ends with exit code 2 and the reason, before any request."""
    assert reason in rejected(*flags).stderr
