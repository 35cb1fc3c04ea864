"""The settings of all processes. Only this module reads `LEEWAY_*`; the OpenTelemetry SDK reads `OTEL_*`.

Each process reads its settings once, in its composition root, and passes plain values on.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ByteSize, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(ValueError):
    """A setting is invalid; the message names the variable, its value and what is expected."""


def _one_size(value: object) -> object:
    """Reject text after a size, which `ByteSize` ignores: 1,5GiB would be one byte."""
    if isinstance(value, str) and not re.fullmatch(r"\s*[\d.]+\s*[a-z]*\s*", value, re.IGNORECASE):
        raise ValueError("must be a number of bytes, optionally with a unit, such as 500MB")
    return value


Bytes = Annotated[ByteSize, BeforeValidator(_one_size), Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_KEYS_FILE = "File of API keys, made by `leeway keys`; if it is set, all requests but health checks need a key"
_ANONYMOUS = "Requests without keys are intended: no warning about an address that other machines may reach"
_METRICS_ENDPOINT = "by default only if metrics are not exported otherwise"
_SPANS_FILE = "File to write spans to, as JSON lines; for use without a Collector"


class Settings(BaseSettings):
    """The settings of every process."""

    model_config = SettingsConfigDict(env_prefix="LEEWAY_", frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: str = Field(
        "sqlite:///var/leeway.db", description="Database URL: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
    )
    log: str = Field(
        "database",
        pattern=r"^(database|delta:.+)$",
        description="Where predictions are kept: database, or the Delta tables in delta:FOLDER or delta:s3://BUCKET/PATH",
    )
    bundle: Path = Field(Path("var/bundle"), description="Folder of the model bundle")

    @property
    def delta(self) -> str | None:
        """Where the Delta tables of the prediction log are; None if the database has the predictions."""
        return self.log.removeprefix("delta:") if self.log.startswith("delta:") else None

    def check_log(self) -> None:
        """Check that what the prediction log needs is installed, without importing it.

        Raises:
            SettingsError: it is not.
        """
        if self.delta is not None and find_spec("deltalake") is None:
            raise SettingsError(f"LEEWAY_LOG={self.log!r}: deltalake is not installed: install leeway[delta]")

    @classmethod
    def read(cls, **overrides: Any) -> Self:  # noqa: ANN401 (a flag may be of any type; pydantic checks it)
        """Read the environment. A keyword that is not None takes precedence.

        Raises:
            SettingsError: a value is invalid.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            flag = "" if overrides.get(name) is None else " (given as a flag)"
            reason = first["msg"].removeprefix("Value error, ")
            given = f"LEEWAY_{name.upper()}={str(first['input'])!r}{flag}"
            raise SettingsError(f"{given}: {reason}. Meaning: {cls.model_fields[name].description}") from error


class ServerSettings(Settings):
    """The additional settings of what answers requests: the API and the reports page."""

    api_keys_file: Path | None = Field(None, description=_KEYS_FILE)
    allow_anonymous: bool = Field(default=False, description=_ANONYMOUS)


class ServiceSettings(ServerSettings):
    """The settings of the API."""

    host: str = Field("127.0.0.1", description="Address to listen on; :: for IPv4 and IPv6")
    certificate: Path | None = Field(None, description="PEM file of the TLS certificate and its chain; serves HTTPS")
    key: Path | None = Field(None, description="PEM file of the certificate's key, without a password")
    port: Port = Field(8000, description="Port to listen on; 0 picks a free one")
    root_path: str = Field(
        "", pattern=r"^(/[^/?#]+)*$", description="Path under which a proxy serves the API, such as /leeway"
    )
    request_timeout: Seconds = Field(
        20, description="Seconds within which a request must arrive, head and body; then it is answered 408"
    )
    requests_in_flight: int = Field(
        512, ge=1, description="Maximum number of requests that a process answers at a time; more are answered 503"
    )
    spool: Path = Field(Path("var/spool"), description="Spool folder: predictions wait here for the database")
    spool_limit: Bytes = Field(
        ByteSize(2**30), description="Maximum size of the spool, in bytes or with a unit, such as 500MB or 1.5GiB"
    )
    spool_fsync: Literal["normal", "always"] = Field(
        "normal", description="normal survives a killed process; always also survives a power cut, but is slower"
    )
    recording: Literal["available", "required"] = Field(
        "available", description="If a prediction cannot be recorded: available answers anyway, required answers 503"
    )
    metrics_endpoint: bool | None = Field(None, description=f"Serve /metrics; {_METRICS_ENDPOINT}")
    spans_file: Path | None = Field(None, description=_SPANS_FILE)
    faults: bool = Field(default=False, description="Allow fault injection with `leeway faults`")
    faults_hosts: str = Field(
        "",
        description="More host names that may request /faults, separated by commas; names without a dot always may",
    )


class SetupSettings(Settings):
    """The additional settings of `leeway setup`."""

    extract: Path | None = Field(
        None,
        description="Folder with one sub-folder per month-end extract, named by date; without it, setup generates data",
    )


class ClientSettings(Settings):
    """The additional settings of commands that call a running service."""

    url: str = Field("http://127.0.0.1:8000", description="URL of the service")
    api_key: str | None = Field(None, repr=False, description="API key for a service that needs one")


class KeysSettings(Settings):
    """The additional settings of `leeway keys`."""

    api_keys_file: Path = Field(Path("var/api-keys.json"), description=_KEYS_FILE)


class SourceSettings(Settings):
    """The additional settings of commands that read predictions of another service."""

    source: str | None = Field(
        None,
        description="Predictions of another service: postgresql://…, sqlite:///FILE, duckdb:///FILE, delta:FOLDER, or a"
        " Parquet file, folder or pattern; by default those of Leeway's own database",
    )
    mapping: Path | None = Field(
        None, description="Mapping file of the source; by default source.yaml in the current folder, if it exists"
    )
    max_rows: int = Field(
        20_000_000, ge=1, description="Maximum number of rows of a source in a period; more end in a message"
    )
    by: str | None = Field(
        None, description="Column of the source with at most 50 values: each run is made for each of them as well"
    )
    source_timeout: Seconds = Field(60, description="Seconds after which PostgreSQL cancels a statement on a source")


class DriftSettings(ServerSettings, SourceSettings):
    """The settings of the drift worker."""

    reference: str = Field(
        "bundle",
        description="With a source, what the worker compares with: a folder of `leeway reference make`, days like"
        " 2026-10-01..2026-10-31, another table, a file or URL, or bundle",
    )
    reports: Path = Field(Path("reports"), description="Folder of the drift reports")
    reports_host: str = Field("127.0.0.1", description="Address of the reports page")
    reports_port: Port = Field(8001, description="Port of the reports page")
    reports_keep: int = Field(100, ge=1, description="Number of runs whose reports are kept")
    reports_url: str = Field("http://127.0.0.1:8001", description="Base URL of links to the reports page")
    trace_url: str = Field("http://127.0.0.1:16686/trace", description="Base URL of links to a trace")
    metrics_endpoint: bool | None = Field(
        None, description=f"Serve /metrics on the port of the reports page; {_METRICS_ENDPOINT}"
    )
    spans_file: Path | None = Field(None, description=_SPANS_FILE)
    drift_interval: Seconds = Field(60, description="Seconds between two drift runs")
    drift_window: Seconds = Field(900, description="Length of the current window in seconds")
    drift_min_rows: int = Field(200, ge=1, description="Minimum number of subjects for a comparison")
    drift_report: bool = Field(
        default=True, description="Make Evidently's page of each run, from a sample of at most 20,000 subjects"
    )
    drift_threshold: float = Field(
        0.30, gt=0, le=1, description="Share of drifted features at which retraining is recommended"
    )
    drift_breaches: int = Field(
        3, ge=1, description="Number of consecutive windows, without overlap, that confirm the drift"
    )
    drift_cooldown: float = Field(
        3_600, ge=0, description="Seconds after a RETRAIN during which it is not recommended again"
    )
    drift_labels: int = Field(
        2_000, ge=2, description="Number of most recent labelled predictions that performance is computed from"
    )
    drift_min_labels: int = Field(200, ge=2, description="Minimum number of labels for a performance verdict")
    webhook_url: str | None = Field(None, description="URL that each change of the recommendation is posted to")


class ErasureSettings(ServiceSettings, DriftSettings):
    """The settings of `leeway log forget`, which looks where the service and the drift worker write."""


class DoctorSettings(ClientSettings, ServiceSettings, DriftSettings):
    """The additional settings of `leeway doctor`: the rest of the stack. A service without a URL is not checked."""

    prometheus_url: str | None = Field(None, description="URL of Prometheus; without it, doctor reads /metrics")
    jaeger_url: str | None = Field(
        None, description="URL of Jaeger's page and API; without it, doctor reads the spans file"
    )
    collector_url: str | None = Field(None, description="URL of the Collector's health_check extension")
    grafana_url: str | None = Field(None, description="URL of Grafana")
