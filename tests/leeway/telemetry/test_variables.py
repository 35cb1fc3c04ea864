"""A row for each value: what a variable accepts, and what is said of the rest."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from opentelemetry.sdk import environment_variables

from leeway.telemetry.environment import TelemetryError
from leeway.telemetry.variable_checks import CHECKS, LONGEST_MS
from leeway.telemetry.variables import examine, ignore_invalid_variables

ENDPOINT, HEADERS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"
TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
AGGREGATION = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"

UNUSED = ("OTEL_BLRP_", "OTEL_LOGRECORD_", "OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_ZIPKIN_", "OTEL_PYTHON_")
"""What belongs to logs, which are not exported, to a removed exporter, and to Python alone."""

VALID = [
    ("OTEL_SDK_DISABLED", "TRUE", "true"),
    ("OTEL_SERVICE_NAME", " mine ", "mine"),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=1, b=x%2Cy%25,", "a=1,b=x%2Cy%25"),
    (DETECTORS, "otel", "otel"),
    ("OTEL_LOG_LEVEL", "WARN", "warn"),
    ("OTEL_PROPAGATORS", "none", "none"),
    ("OTEL_PROPAGATORS", "tracecontext,baggage,b3,b3multi", "tracecontext,baggage,b3,b3multi"),
    ("OTEL_PROPAGATORS", "b3, b3", "b3"),
    *(
        ("OTEL_TRACES_SAMPLER", f"{parent}{root}", f"{parent}{root}")
        for parent in ("", "parentbased_")
        for root in ("always_on", "always_off", "traceidratio")
    ),
    ("OTEL_TRACES_SAMPLER_ARG", "0.25", "0.25"),
    ("OTEL_BSP_SCHEDULE_DELAY", "100", "100"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "0", str(LONGEST_MS)),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "64", "64"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2048", "2048"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "0", "0"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "unset", "unset"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5", "5"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "5", "5"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "5", "5"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "5", "5"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "5", "5"),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "5", "5"),
    *(("OTEL_TRACES_EXPORTER", value, value) for value in ("otlp", "console", "otlp,console", "none")),
    *(("OTEL_METRICS_EXPORTER", value, value) for value in ("otlp", "console", "prometheus", "none")),
    *(("OTEL_METRICS_EXEMPLAR_FILTER", value, value) for value in ("always_on", "always_off", "trace_based")),
    ("OTEL_METRIC_EXPORT_INTERVAL", "5000", "5000"),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "3000", "3000"),
    *((TEMPORALITY, value, value.lower()) for value in ("cumulative", "DELTA", "lowmemory")),
    *((AGGREGATION, value, value) for value in ("explicit_bucket_histogram", "base2_exponential_bucket_histogram")),
    (ENDPOINT, "http://collector:4318/", "http://collector:4318/"),
    (ENDPOINT, "https://[::1]:4318/otlp", "https://[::1]:4318/otlp"),
    (HEADERS, "api-key=a%20b, X-Other=c=d", "api-key=a%20b,x-other=c%3Dd"),
    (HEADERS, "authorization=Bearer abc", "authorization=Bearer%20abc"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "grpc"),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf", "http/protobuf"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "2.5", "2.5"),
    ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10000", "10000"),
    *(("OTEL_EXPORTER_OTLP_COMPRESSION", value, value) for value in ("gzip", "deflate", "none")),
    ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "False", "false"),
]

INVALID = [
    ("OTEL_SDK_DISABLED", "yes", "true or false"),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b", "key=value"),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=100%", "%25"),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=%ff", "percent-encode"),
    (DETECTORS, "nowhere", "install"),
    ("OTEL_LOG_LEVEL", "loud", "debug"),
    ("OTEL_PROPAGATORS", "b4", "b3multi or none"),
    ("OTEL_PROPAGATORS", "jaeger", "install the propagator"),
    ("OTEL_TRACES_SAMPLER", "sometimes", "parentbased_traceidratio"),
    ("OTEL_TRACES_SAMPLER", "jaeger_remote", "always_on"),
    ("OTEL_BSP_SCHEDULE_DELAY", "soon", "integer from 1"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "-1", "integer from 0"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "integer from 1"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "3000", "OTEL_BSP_MAX_QUEUE_SIZE, which is 2,048"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "long", "integer from 0"),
    ("OTEL_ATTRIBUTE_COUNT_LIMIT", "-1", "integer from 0"),
    ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1.5", "integer from 0"),
    ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "integer from 0"),
    ("OTEL_SPAN_EVENT_COUNT_LIMIT", "٣", "integer from 0"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "99999999999", "integer from 0"),
    ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "x", "integer from 0"),
    ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "x", "integer from 0"),
    ("OTEL_TRACES_EXPORTER", "zipkin", "otlp, console or none"),
    ("OTEL_METRICS_EXPORTER", "statsd", "prometheus or none"),
    ("OTEL_METRICS_EXEMPLAR_FILTER", "perhaps", "trace_based"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "0", "integer from 1"),
    ("OTEL_METRIC_EXPORT_TIMEOUT", "long", "integer from 0"),
    (TEMPORALITY, "eternal", "delta or lowmemory"),
    (AGGREGATION, "round", "base2_exponential"),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost", "LEEWAY_HOST"),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", "9464", "LEEWAY_PORT"),
    ("OTEL_CONFIG_FILE", "otel.yaml", "OTEL_* variables"),
    (HEADERS, "api-key: secret", "name=value"),
    (HEADERS, "a=b%0d%0Ac", "name=value"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "grpc or http/protobuf"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "milliseconds"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "milliseconds"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "gzip, deflate or none"),
    ("OTEL_EXPORTER_OTLP_INSECURE", "1", "true or false"),
]

NOT_A_FILE = "/nowhere/ca.pem"
LOST = [
    ({ENDPOINT: "localhost:4318"}, "give http:// or https://, such as http://localhost:4318"),
    ({ENDPOINT: "ftp://collector"}, "such as http://collector"),
    ({ENDPOINT: "http://"}, "give a host"),
    ({ENDPOINT: "http://collector:99999"}, "give a host"),
    ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector/v1/traces"}, "http://collector/v1/traces"),
    ({ENDPOINT: "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": NOT_A_FILE}, "No such file"),
    ({ENDPOINT: "https://c", "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE": os.devnull}, "PEM"),
    ({ENDPOINT: "https://c", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": NOT_A_FILE}, "No such file"),
    (
        {ENDPOINT: "https://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_CERTIFICATE": NOT_A_FILE},
        "No",
    ),
    ({ENDPOINT: "http://", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "localhost:4317"),
    ({ENDPOINT: "collector:port", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "localhost:4317"),
]
USABLE = [
    {ENDPOINT: "localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    {ENDPOINT: "dns:///collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    {ENDPOINT: "unix:/run/otel.sock", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_INSECURE": "true"},
    {ENDPOINT: "localhost:4318", "OTEL_SDK_DISABLED": "true"},
    {ENDPOINT: "localhost:4318", "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console"},
    {ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": NOT_A_FILE},
]


def test_each_variable_of_the_specification_is_checked() -> None:
    """Those that the SDK knows, except for what we do not use."""
    known = {name for name in vars(environment_variables) if name.startswith("OTEL_") and not name.startswith(UNUSED)}
    assert known <= CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_an_empty_variable_counts_as_not_set(name: str) -> None:
    """As the specification says."""
    assert examine({name: " "}) == ({}, [])


@pytest.mark.parametrize("name", CHECKS)
def test_each_variable_has_a_row(name: str) -> None:
    """The tables below leave none out; the signals of OTLP share their checks."""
    shared = name.replace("_TRACES_", "_").replace("_METRICS_", "_")
    rows = {row[0] for row in (*VALID, *INVALID)} | {each for row, _ in LOST for each in row}
    assert name in rows or shared in rows or "CLIENT_KEY" in name


@pytest.mark.parametrize(("name", "value", "expected"), VALID)
def test_a_valid_value_stays(name: str, value: str, expected: str) -> None:
    """In the form that the SDK reads, without a complaint."""
    assert examine({name: value}) == ({name: expected}, [])


@pytest.mark.parametrize(("name", "value", "expected"), INVALID)
def test_an_invalid_value_is_ignored_and_said(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning names the variable and what is valid, the variable is removed, and the process continues."""
    monkeypatch.setenv(name, value)
    ignore_invalid_variables()
    assert name not in os.environ
    (record,) = caplog.records
    assert (record.levelno, name in record.message, expected in record.message) == (logging.WARNING, True, True)


@pytest.mark.parametrize(("environ", "expected"), LOST)
def test_a_value_that_loses_all_telemetry_stops_the_start(
    environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the variable and what to give."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TelemetryError, match="OTEL_EXPORTER_OTLP_") as raised:
        ignore_invalid_variables()
    assert expected in str(raised.value)


@pytest.mark.parametrize("environ", USABLE)
def test_a_value_that_loses_nothing_does_not(environ: dict[str, str]) -> None:
    """Endpoints of gRPC, and what no exporter uses."""
    assert examine(environ) == (environ, [])


@pytest.mark.parametrize(("argument", "is_valid"), [("0", True), ("1", True), ("1.1", False), ("half", False)])
def test_a_ratio_is_checked_where_the_sampler_reads_it(argument: str, is_valid: bool) -> None:  # noqa: FBT001 (an expectation)
    """It is a number from 0 to 1."""
    _, invalid = examine({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument})
    assert [each.name for each in invalid] == ([] if is_valid else ["OTEL_TRACES_SAMPLER_ARG"])


def test_the_valid_part_of_a_list_counts() -> None:
    """An unknown propagator does not turn off the known ones."""
    valid, (invalid,) = examine({"OTEL_PROPAGATORS": "tracecontext,b4,b3"})
    assert (valid, invalid.name) == ({"OTEL_PROPAGATORS": "tracecontext,b3"}, "OTEL_PROPAGATORS")


@pytest.mark.parametrize(("name", "value"), [(HEADERS, "secret"), (ENDPOINT, "user:secret@collector")])
def test_a_secret_is_not_said(name: str, value: str) -> None:
    """Headers and an endpoint with a password stay out of messages."""
    _, (invalid,) = examine({name: value})
    assert "secret" not in str(invalid)


def test_a_log_level_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OTEL_LOG_LEVEL` is the SDK's own."""
    logger = logging.getLogger("opentelemetry")
    monkeypatch.setattr(logger, "level", logger.level)
    monkeypatch.setenv("OTEL_LOG_LEVEL", "ERROR")
    ignore_invalid_variables()
    assert logger.level == logging.ERROR


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
@pytest.mark.parametrize("is_encrypted", [False, True], ids=["key", "encrypted key"])
def test_a_client_certificate_needs_its_key(tmp_path: Path, is_encrypted: bool) -> None:  # noqa: FBT001 (a case)
    """A pair is usable; an encrypted key is said, and asks no terminal for its password."""
    cipher = ["-passout", "pass:secret"] if is_encrypted else ["-nodes"]
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-subj",
            "/CN=t",
            "-keyout",
            key,
            "-out",
            certificate,
            *cipher,
        ],
        check=True,
        capture_output=True,
    )
    environ = {
        ENDPOINT: "https://collector",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": str(certificate),
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": str(key),
    }
    assert [each.name for each in examine(environ)[1]] == (
        ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] if is_encrypted else []
    )
