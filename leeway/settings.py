"""The only reader of `LEEWAY_*` environment variables; `OTEL_*` belongs to the OpenTelemetry SDK.

Each process reads its own settings once, in its composition root, and hands plain values on.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(ValueError):
    """A setting cannot be used; the message names the variable, the value and what would do."""


_SIZE_UNITS = {"": 1, "b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def _bytes(value: object) -> object:
    """Read `1 GiB`, `500MB` or a plain number of bytes."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].lower() not in _SIZE_UNITS:
        raise ValueError("give a number of bytes, or one with KiB, MiB, GiB, KB, MB or GB: 500MB, 1.5GiB")
    return int(Decimal(match[1]) * _SIZE_UNITS[match[2].lower()])


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What every process needs: where the data and the bundle are."""

    model_config = SettingsConfigDict(env_prefix="LEEWAY_", frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: str = Field(
        "sqlite:///var/leeway.db", description="Where data is kept: sqlite:///FILE or postgresql+psycopg://…"
    )
    bundle: Path = Field(Path("var/bundle"), description="The model bundle's folder")

    @classmethod
    def read(cls, **overrides: Any) -> Self:  # noqa: ANN401 (a flag may be of any type; pydantic checks it)
        """Read the environment; a keyword that is not None goes before it.

        Raises:
            SettingsError: a value cannot be used.
        """
        try:
            return cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            flag = "" if overrides.get(name) is None else " (given as a flag)"
            reason = first["msg"].removeprefix("Value error, ")
            meaning = cls.model_fields[name].description
            shown = f"LEEWAY_{name.upper()}={str(first['input'])!r}{flag}"
            raise SettingsError(f"{shown}: {reason}. Its meaning: {meaning}") from error


class ServiceSettings(Settings):
    """What the API needs besides."""

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: Port = Field(8000, description="Port to listen on; 0 takes a free one")
    spool: Path = Field(Path("var/spool.db"), description="File where answered predictions wait for the database")
    spool_limit: Bytes = Field(2**30, description="Largest size of that file, in bytes or as 1GiB, 500MB, …")
    spool_fsync: Literal["normal", "always"] = Field(
        "normal", description="normal survives a killed process; always survives a power cut too, and is slower"
    )
    recording: Literal["available", "required"] = Field(
        "available", description="Where a prediction cannot be recorded: answer all the same, or answer 503"
    )
    metrics_endpoint: bool | None = Field(None, description="Serve /metrics; by default where no OTLP endpoint is set")
    spans_file: Path | None = Field(None, description="Write spans to this file as JSON lines (without a Collector)")
    faults: bool = Field(default=False, description="Allow `leeway faults`: on or off")
    faults_hosts: str = Field(
        "", description="More names, with commas, by which /faults may be asked for; names without a dot always may"
    )


class SetupSettings(Settings):
    """What setting a new place up needs besides."""

    extract: Path | None = Field(
        None, description="Folder of month-end extracts, one sub-folder a date; without it customers are made up"
    )


class ClientSettings(Settings):
    """What commands need besides that talk to a running service."""

    url: str = Field("http://127.0.0.1:8000", description="Where the service answers")


class DriftSettings(Settings):
    """What the drift worker needs besides."""

    reports: Path = Field(Path("reports"), description="Folder of the drift reports")
    reports_host: str = Field("127.0.0.1", description="Address of the reports page")
    reports_port: Port = Field(8001, description="Port of the reports page")
    reports_keep: int = Field(100, ge=1, description="How many runs' reports are kept")
    reports_url: str = Field("http://127.0.0.1:8001", description="Base of links to the reports page")
    trace_url: str = Field("http://127.0.0.1:16686/trace", description="Base of links to a trace")
    metrics_endpoint: bool | None = Field(
        None, description="Serve /metrics on the reports page; by default where no OTLP endpoint is set"
    )
    spans_file: Path | None = Field(None, description="Write spans to this file as JSON lines (without a Collector)")
    drift_interval: Seconds = Field(60, description="Seconds from one comparison to the next")
    drift_window: Seconds = Field(900, description="Seconds of served predictions in one comparison")
    drift_min_rows: int = Field(200, ge=1, description="Fewest subjects of a comparison")
    drift_max_rows: int = Field(50_000, ge=1, description="Most subjects of a comparison; of more, a sample")
    drift_threshold: float = Field(0.30, gt=0, le=1, description="Share of drifted features that asks for retraining")
    drift_breaches: int = Field(3, ge=1, description="Windows in a row, without overlap, that confirm it")
    drift_cooldown: float = Field(3_600, ge=0, description="Seconds without a new RETRAIN after one")
    drift_labels: int = Field(2_000, ge=2, description="Performance looks at this many last labelled predictions")
    drift_min_labels: int = Field(200, ge=2, description="Fewest labels that performance is judged on")
    webhook_url: str | None = Field(None, description="Where a change of recommendation is posted")


class DoctorSettings(ClientSettings, ServiceSettings, DriftSettings):
    """What `leeway doctor` needs besides: where the rest of the stack answers. What is not named is not looked at."""

    prometheus_url: str | None = Field(None, description="Where Prometheus answers; without it /metrics is asked")
    jaeger_url: str | None = Field(
        None, description="Where Jaeger's page and API answer; without it the spans file is read"
    )
    collector_url: str | None = Field(None, description="Where the Collector's health_check extension answers")
    grafana_url: str | None = Field(None, description="Where Grafana answers")
