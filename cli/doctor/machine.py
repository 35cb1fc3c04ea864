"""Checks ports, disks, clocks and the `OTEL_*` variables of this environment."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from cli.doctor.check import CheckResult
from cli.doctor.endpoints import endpoints
from cli.http import BadUrl, ServiceAddress
from leeway.settings import DoctorSettings
from leeway.store.engine import DatabaseError, open_engine, server_address, sqlite_file
from leeway.telemetry.variables import examine

Address: TypeAlias = tuple[str, int]

MOST_SKEW_S = 2.0
"""Answers give their time in whole seconds, and drift windows are much longer than that."""
LEAST_FREE_BYTES = 2**28
_GIBIBYTE = 2**30


def addresses(settings: DoctorSettings) -> dict[str, Address]:
    """Host and port of each process that the settings name."""
    urls = {"service": settings.url, **{each.check: each.url for each in endpoints(settings) if each.is_required}}
    found = {name: address for name, url in urls.items() if url is not None and (address := _address(url))}
    database = _database_address(settings.database_url)
    return found if database is None else {**found, "database": database}


def _address(url: str) -> Address | None:
    try:
        target = ServiceAddress.parse(url)
    except BadUrl:  # the check of that endpoint reports it
        return None
    return target.host, target.port


def _database_address(url: str) -> Address | None:
    if sqlite_file(url) is not None:
        return None
    try:
        return server_address(open_engine(url))
    except DatabaseError:  # the database check reports it
        return None


def variables() -> CheckResult:
    """Whether all `OTEL_*` variables are valid; the service runs with the same ones if doctor runs where it does."""
    _, invalid = examine()
    if not invalid:
        return CheckResult("variables", "ok", "all OTEL_* variables are valid")
    found = "; ".join(map(str, invalid))
    lost = any(each.is_fatal for each in invalid)
    return CheckResult(
        "variables", "failed", found, "correct it: " + ("no process starts" if lost else "it is ignored")
    )


def ports(wanted: Mapping[str, Address], timeout_s: float) -> CheckResult:
    """Whether all these ports are open."""
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        opened = dict(zip(wanted, pool.map(lambda address: _is_open(address, timeout_s), wanted.values()), strict=True))
    closed = [f"{name} at {_shown(wanted[name])}" for name, is_open in opened.items() if not is_open]
    listening = [f"{name} {_shown(wanted[name])}" for name, is_open in opened.items() if is_open]
    if closed:
        found = f"nothing listens for {', '.join(closed)}"
        return CheckResult("ports", "failed", found, "start it (in compose: docker compose ps shows what runs)")
    return CheckResult("ports", "ok", f"open: {', '.join(listening)}")


def _shown(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _is_open(address: Address, timeout_s: float) -> bool:
    try:
        with socket.create_connection(address, timeout_s):
            return True
    except OSError:
        return False


def disk(settings: DoctorSettings, least_bytes: int = LEAST_FREE_BYTES) -> CheckResult:
    """Free space for the spool, a SQLite database and the reports, if they are on this machine."""
    paths = {"spool": settings.spool, "database": sqlite_file(settings.database_url), "reports": settings.reports}
    folders = {
        name: path if path.is_dir() else path.parent
        for name, path in paths.items()
        if path is not None and path.exists()
    }
    if not folders:
        return CheckResult("disk", "skipped", "not checked: spool, database and reports are not on this machine")
    free = {name: shutil.disk_usage(folder).free for name, folder in folders.items()}
    found = "free for " + _by_disk(folders, free)
    short = [str(folders[name]) for name, left in free.items() if left < least_bytes]
    if short:
        return CheckResult("disk", "failed", found, f"free space at {', '.join(short)}: without it nothing is recorded")
    if free.get("spool", settings.spool_limit) < settings.spool_limit:
        limit = f"{settings.spool_limit / _GIBIBYTE:.1f} GiB"
        next_step = f"free space, or lower LEEWAY_SPOOL_LIMIT ({limit}): in a long outage the spool would fill the disk"
        return CheckResult("disk", "warning", found, next_step)
    return CheckResult("disk", "ok", found)


def _by_disk(folders: Mapping[str, Path], free: Mapping[str, int]) -> str:
    """Free space by disk; paths on the same disk share an entry."""
    disks: dict[int, list[str]] = {}
    for name, folder in folders.items():
        disks.setdefault(folder.stat().st_dev, []).append(name)
    return "; ".join(f"{', '.join(names)}: {free[names[0]] / _GIBIBYTE:,.1f} GiB" for names in disks.values())


def clocks(results: Iterable[CheckResult]) -> CheckResult:
    """Whether the clocks of the processes that answered agree with ours."""
    ahead = {each.check: each.clock_ahead_s for each in results if each.clock_ahead_s is not None}
    if not ahead:
        return CheckResult("clocks", "skipped", "not checked: no answer gave its time")
    off = {name: ahead_s for name, ahead_s in ahead.items() if abs(ahead_s) > MOST_SKEW_S}
    if not off:
        return CheckResult("clocks", "ok", f"{', '.join(ahead)} within {MOST_SKEW_S:g} s of ours")
    found = ", ".join(
        f"{name} is {abs(ahead_s):,.0f} s {'ahead' if ahead_s > 0 else 'behind'}" for name, ahead_s in off.items()
    )
    next_step = "set the clocks by NTP on both machines: drift windows and traces depend on them"
    return CheckResult("clocks", "failed", found, next_step)
