from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from leeway.settings import (
    DoctorSettings,
    DriftSettings,
    ServiceSettings,
    Settings,
    SettingsError,
    SetupSettings,
    SourceSettings,
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("LEEWAY_"):
            monkeypatch.delenv(name)


def test_defaults_of_the_service() -> None:
    """Without variables the documented defaults apply."""
    settings = ServiceSettings.read()
    assert (settings.database_url, settings.bundle) == ("sqlite:///var/leeway.db", Path("var/bundle"))
    assert (settings.host, settings.port, settings.recording, settings.faults) == (
        "127.0.0.1",
        8000,
        "available",
        False,
    )
    assert (settings.spool, settings.spool_limit, settings.spool_fsync) == (Path("var/spool"), 2**30, "normal")


def test_defaults_of_the_drift_worker() -> None:
    """Without variables the documented defaults apply."""
    settings = DriftSettings.read()
    assert (settings.drift_interval, settings.drift_window, settings.drift_min_rows) == (60, 900, 200)
    assert (settings.drift_report, settings.drift_threshold, settings.drift_breaches) == (True, 0.3, 3)
    assert (settings.drift_cooldown, settings.drift_labels, settings.drift_min_labels) == (3_600, 2_000, 200)
    assert (settings.reports, settings.reports_host, settings.reports_port) == (Path("reports"), "127.0.0.1", 8001)


@pytest.mark.parametrize(
    ("kind", "variable", "text", "value"),
    [
        (Settings, "DATABASE_URL", "postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
        (Settings, "BUNDLE", "elsewhere", Path("elsewhere")),
        (ServiceSettings, "HOST", "0.0.0.0", "0.0.0.0"),  # noqa: S104 (a value like another)
        (ServiceSettings, "PORT", "0", 0),
        (ServiceSettings, "SPOOL", "s.db", Path("s.db")),
        (ServiceSettings, "SPOOL_LIMIT", "1GiB", 2**30),
        (ServiceSettings, "SPOOL_LIMIT", " 500 MB ", 500_000_000),
        (ServiceSettings, "SPOOL_LIMIT", "1.5KiB", 1_536),
        (ServiceSettings, "SPOOL_LIMIT", "4096", 4_096),
        (ServiceSettings, "SPOOL_LIMIT", "1 gib", 2**30),
        (ServiceSettings, "SPOOL_LIMIT", "7b", 7),
        (ServiceSettings, "SPOOL_FSYNC", "always", "always"),
        (ServiceSettings, "RECORDING", "required", "required"),
        (ServiceSettings, "METRICS_ENDPOINT", "off", False),
        (ServiceSettings, "METRICS_ENDPOINT", "", None),
        (ServiceSettings, "SPANS_FILE", "spans.jsonl", Path("spans.jsonl")),
        (ServiceSettings, "FAULTS", "on", True),
        (ServiceSettings, "FAULTS", "off", False),
        (ServiceSettings, "FAULTS_HOSTS", "a.example, b.example", "a.example, b.example"),
        (Settings, "LOG", "delta:s3://bucket/lake", "delta:s3://bucket/lake"),
        (SourceSettings, "SOURCE", "duckdb:///a", "duckdb:///a"),
        (SourceSettings, "MAPPING", "a.yaml", Path("a.yaml")),
        (SourceSettings, "MAX_ROWS", "9", 9),
        (SourceSettings, "BY", "country", "country"),
        (SourceSettings, "SOURCE_TIMEOUT", "0.5", 0.5),
        (DriftSettings, "REFERENCE", "october", "october"),
        (DriftSettings, "REPORTS", "r", Path("r")),
        (DriftSettings, "REPORTS_HOST", "::1", "::1"),
        (DriftSettings, "REPORTS_PORT", "9", 9),
        (DriftSettings, "REPORTS_KEEP", "7", 7),
        (DriftSettings, "REPORTS_URL", "https://r", "https://r"),
        (DriftSettings, "TRACE_URL", "https://t", "https://t"),
        (DriftSettings, "DRIFT_INTERVAL", "0.5", 0.5),
        (DriftSettings, "DRIFT_WINDOW", "60", 60),
        (DriftSettings, "DRIFT_MIN_ROWS", "1", 1),
        (DriftSettings, "DRIFT_REPORT", "false", False),
        (DriftSettings, "DRIFT_THRESHOLD", "0.5", 0.5),
        (DriftSettings, "DRIFT_BREACHES", "1", 1),
        (DriftSettings, "DRIFT_COOLDOWN", "0", 0),
        (DriftSettings, "DRIFT_LABELS", "10", 10),
        (DriftSettings, "DRIFT_MIN_LABELS", "10", 10),
        (DriftSettings, "WEBHOOK_URL", "https://w", "https://w"),
        (DoctorSettings, "URL", "http://s", "http://s"),
        (DoctorSettings, "SPOOL", "s.db", Path("s.db")),
        (DoctorSettings, "DRIFT_INTERVAL", "30", 30),
        (DoctorSettings, "PROMETHEUS_URL", "http://p", "http://p"),
        (DoctorSettings, "JAEGER_URL", "http://j", "http://j"),
        (DoctorSettings, "COLLECTOR_URL", "http://c", "http://c"),
        (DoctorSettings, "GRAFANA_URL", "", None),
    ],
)
def test_reads_each_variable(
    kind: type[Settings],
    variable: str,
    text: str,
    value: Any,  # noqa: ANN401 (each setting has its own type)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each LEEWAY_ variable sets the typed setting of its name."""
    monkeypatch.setenv(f"LEEWAY_{variable}", text)
    assert getattr(kind.read(), variable.lower()) == value


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("RECORDING", "sometimes", "'available' or 'required'"),
        ("SPOOL_FSYNC", "never", "'normal' or 'always'"),
        ("SPOOL_LIMIT", "5 parsecs", "500MB or 1.5GiB"),
        ("SPOOL_LIMIT", "9" * 400 + "GiB", "500MB or 1.5GiB"),
        ("SPOOL_LIMIT", "-1", "500MB or 1.5GiB"),
        ("SPOOL_LIMIT", "1GiB 2", "500MB or 1.5GiB"),
        ("SPOOL_LIMIT", "1,5GiB", "500MB or 1.5GiB"),
        ("SPOOL_LIMIT", "0", "greater than 0"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("PORT", "http", "valid integer"),
        ("FAULTS", "maybe", "valid boolean"),
    ],
)
def test_an_invalid_value_is_rejected(variable: str, text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the variable, its value and what is expected, in one line."""
    monkeypatch.setenv(f"LEEWAY_{variable}", text)
    with pytest.raises(SettingsError) as caught:
        ServiceSettings.read()
    message = str(caught.value)
    assert message.startswith(f"LEEWAY_{variable}='{text}'")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variable", "text"),
    [("DRIFT_THRESHOLD", "0"), ("DRIFT_INTERVAL", "inf"), ("DRIFT_WINDOW", "0"), ("DRIFT_BREACHES", "0")],
)
def test_a_number_out_of_range_is_rejected(variable: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window of length 0, an infinite interval and the like fail at the start."""
    monkeypatch.setenv(f"LEEWAY_{variable}", text)
    with pytest.raises(SettingsError, match=f"LEEWAY_{variable}="):
        DriftSettings.read()


def test_a_flag_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag overrides the environment; a flag that is None does not."""
    monkeypatch.setenv("LEEWAY_PORT", "1111")
    monkeypatch.setenv("LEEWAY_HOST", "::1")
    settings = ServiceSettings.read(port=2222, host=None)
    assert (settings.port, settings.host) == (2222, "::1")


def test_an_invalid_flag_is_named_as_such() -> None:
    """The message says that the value comes from a flag."""
    with pytest.raises(SettingsError, match=r"LEEWAY_RECORDING='x' \(given as a flag\)"):
        ServiceSettings.read(recording="x")


@pytest.mark.parametrize(("log", "delta"), [(None, None), ("database", None), ("delta:lake", "lake")])
def test_a_log_in_delta_tables_has_a_location(log: str | None, delta: str | None) -> None:
    """Without the setting, predictions are in the database."""
    assert Settings.read(log=log).delta == delta


def test_a_log_that_needs_what_is_not_installed_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install; a database needs nothing."""
    monkeypatch.setattr("leeway.settings.find_spec", lambda _: None)
    Settings.read().check_log()
    with pytest.raises(SettingsError, match=r"install leeway\[delta\]"):
        Settings.read(log="delta:lake").check_log()


def test_settings_are_frozen() -> None:
    """A setting cannot be changed after it was read."""
    with pytest.raises(ValueError, match="frozen"):
        Settings.read().database_url = "sqlite://"


def test_each_setting_is_used() -> None:
    """Each field is read somewhere else: a setting that nothing uses would mislead."""
    root = Path(__file__).parents[2]
    sources = "".join(
        path.read_text(encoding="utf-8")
        for package in ("leeway", "service", "drift", "cli")
        for path in (root / package).rglob("*.py")
        if path.name != "settings.py"
    )
    fields = {name for kind in (DoctorSettings, SetupSettings) for name in kind.model_fields}
    assert {name for name in fields if not re.search(rf"\.{name}\b", sources)} == set()
