"""A PostgreSQL server for a test or a benchmark, from Debian's binaries: without a network port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_S = 30


class NoPostgreSQL(Exception):
    """There is no server, and none can be started; the message says why."""


@contextmanager
def a_postgresql(*, durable: bool = False) -> Iterator[str]:
    """The URL of a new server, or `LEEWAY_TEST_POSTGRES_URL` if it is set.

    With `durable` it waits for the disk at each commit and has the memory of PostgreSQL's defaults, as in production.

    Raises:
        NoPostgreSQL: PostgreSQL is not installed, or does not start.
    """
    if url := os.environ.get("LEEWAY_TEST_POSTGRES_URL"):
        yield url
        return
    binaries = _binaries()
    if binaries is None:
        raise NoPostgreSQL("PostgreSQL is not installed, and LEEWAY_TEST_POSTGRES_URL is not set")
    folder = Path(tempfile.mkdtemp(prefix="leeway-pg-"))  # short: a socket's path has at most 107 characters
    account = _account(folder)
    data = folder / "data"
    options = ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    subprocess.run([binaries / "initdb", "-D", data, *options], check=True, capture_output=True, **account)
    settings = ["listen_addresses=", f"unix_socket_directories={folder}"]
    settings += ["shared_buffers=128MB"] if durable else ["fsync=off", "shared_buffers=16MB"]
    given = [option for setting in settings for option in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *given], stdout=log, stderr=subprocess.STDOUT, **account
        )
    try:
        _wait_for(folder, server)
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: SIGTERM would wait for open connections
        server.wait(START_S)
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    """The folder of the newest version's binaries."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _account(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as nobody."""
    if os.geteuid() != 0:
        return {"cwd": folder}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"cwd": folder, "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _wait_for(folder: Path, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server says that it is ready."""
    deadline = time.monotonic() + START_S
    while "ready to accept connections" not in (log := (folder / "log").read_text(errors="replace")):
        if server.poll() is not None or time.monotonic() > deadline:
            raise NoPostgreSQL(f"PostgreSQL did not start: {log}")
        time.sleep(0.05)
