"""Starts our commands as processes without their imports: forks of a process that has imported the packages already.

`start` and `run` take what `subprocess.Popen` and `subprocess.run` take, without the interpreter. The process is a
child of this one, with the environment, folder, streams, session and signal mask that it was given; only its command
line (`/proc/PID/cmdline`) differs. A start costs about a second less of processor time. The Python processes that it
starts itself, such as the service's drainer, are forked in the same way.

A fork does not show what an import does. So a start is an ordinary one where its environment differs in a variable that
an import may read (all but `LATE`), and outside Linux. Tests of imports, memory and start times use `subprocess`.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypedDict

ROOT: Final = Path(__file__).parents[1]
PRELOADED: Final = (
    "cli.doctor.run",
    "cli.traffic.run",
    "service.__main__",
    "service.process.workers",
    "service.spool.drainer",
)
"""What most commands import. Nothing of it starts a thread, which a fork would lack."""
SET_BY_IMPORTS: Final = ("DO_NOT_TRACK", "KMP_", "ORT_DISABLE_TELEMETRY", "OTEL_SEMCONV_STABILITY_OPT_IN")
LATE: Final = ("LEEWAY_", "OTEL_BSP_", "OTEL_EXPORTER_", "OTEL_METRIC_EXPORT_", "COLUMNS", "PYTEST_", *SET_BY_IMPORTS)
"""How the names of variables begin that no import reads, or that imports set themselves, here as in the new process."""
MAY_START_OTHERS: Final = (["cli.main", "serve"], ["cli.main", "demo"])
_HEAD: Final = struct.Struct("!I")
_SET_CHILD_SUBREAPER: Final = 36


def start(arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:  # noqa: ANN401 (handed on)
    """Start `python ARGUMENTS`, such as `-m cli.main serve`; the options are those of `subprocess.Popen`."""
    _start_server()
    return _ForkedPopen([sys.executable, *arguments], **options)


def run(arguments: Sequence[str], *, timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
    """Run `python ARGUMENTS` to its end and return its exit code and output.

    Raises:
        subprocess.TimeoutExpired: it was killed after `timeout` seconds.
    """
    with start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def server_pid() -> int | None:
    """The process id of the fork server, which lasts as long as the tests; None if no test needed it yet."""
    return _server.pid if _server else None


def stop_server() -> None:
    """End the fork server."""
    global _server  # noqa: PLW0603 (one a process)
    if _server is not None:
        _server.close()
        _server = None


class _ForkServer:
    """The process that forks, as seen by the one that asks it to."""

    def __init__(self, connection: socket.socket, pid: int, environment: Mapping[str, str]) -> None:
        self.pid = pid
        self._connection, self._imported_with = connection, dict(environment)
        self._lock = threading.Lock()

    def can_fork(self, environment: Mapping[str, str]) -> bool:
        """Whether no import would read another value in this environment."""
        return all(name.startswith(LATE) for name, _ in environment.items() ^ self._imported_with.items())

    def fork(self, request: _Request, streams: Sequence[int]) -> int:
        """Start a process whose first three descriptors are `streams`; return its id."""
        body = json.dumps(request).encode()
        with self._lock:
            _adopt_orphans(1)
            try:
                socket.send_fds(self._connection, [_HEAD.pack(len(body))], streams)
                self._connection.sendall(body)
                (pid,) = _HEAD.unpack(_receive(self._connection, _HEAD.size))
            finally:
                _adopt_orphans(0)
        if pid == 0:
            raise ChildProcessError("the process ended before it began")
        return int(pid)

    def close(self) -> None:
        """End the server; the processes that it forked continue."""
        self._connection.close()
        os.waitpid(self.pid, 0)


_server: _ForkServer | None = None


def _start_server() -> None:
    global _server  # noqa: PLW0603 (one a process)
    if _server is None and sys.platform == "linux":
        ours, its = socket.socketpair()
        with its:
            command = [sys.executable, "-m", __name__, str(its.fileno())]
            process = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()])
        _server = _ForkServer(ours, process.pid, os.environ)
        process.returncode = 0  # `stop_server` waits for it


class _ForkedPopen(subprocess.Popen[Any]):
    """A `Popen` that lets the server fork where that makes no difference."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, *others: Any) -> None:  # noqa: ANN401
        _, pass_fds, cwd, env = others[:4]
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = others[7:13]
        given = dict(os.environ if env is None else env)
        is_module = isinstance(args, list | tuple) and list(args[:2]) == [sys.executable, "-m"]
        if _server is None or not is_module or preexec_fn or pass_fds or not _server.can_fork(given):
            super()._execute_child(args, executable, preexec_fn, *others)  # type: ignore[misc]
            return
        request: _Request = {
            "arguments": [str(each) for each in args[2:]],
            "cwd": str(Path(cwd or ".").resolve()),
            "environment": given,
            "blocked_signals": [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
            "new_session": bool(others[-2]),
            "process_group": others[-1],
        }
        ours = (each if each != -1 else stream for stream, each in enumerate((p2cread, c2pwrite, errwrite)))
        self.pid = _server.fork(request, list(ours))
        self._child_created = True
        self._closed_child_pipe_fds = True
        devnull = getattr(self, "_devnull", None)
        for its_end, our_end in ((p2cread, p2cwrite), (c2pwrite, c2pread), (errwrite, errread)):
            if -1 not in {its_end, our_end} and its_end != devnull:
                os.close(its_end)
        if devnull is not None:
            os.close(devnull)


# --- in the server, and in what it forks --------------------------------------------------------------------------


class _Request(TypedDict):
    """What the new process is to be."""

    arguments: list[str]
    cwd: str
    environment: dict[str, str]
    blocked_signals: list[int]
    new_session: bool
    process_group: int


def _serve(connection: socket.socket) -> tuple[_Request, list[int], int]:
    """Fork for each request until the connection ends.

    Returns in the new process: the request, its streams, and where to write its id once it is what was asked for.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the processes that the server forked
    while True:
        head, streams, *_ = socket.recv_fds(connection, _HEAD.size, 3)
        if not head:
            os._exit(0)
        request: _Request = json.loads(_receive(connection, _HEAD.unpack(head)[0]))
        reader, writer = os.pipe()
        parent = os.fork()
        if parent == 0:
            parent = os.getpid()
            if os.fork():
                os._exit(0)  # so that the process that sent the request adopts the new one
            while os.getppid() == parent:
                time.sleep(0.0005)
            os.close(reader)
            connection.close()
            return request, streams, writer
        for each in (writer, *streams):
            os.close(each)
        os.waitpid(parent, 0)
        connection.sendall(os.read(reader, _HEAD.size) or _HEAD.pack(0))
        os.close(reader)


def _become(request: _Request, streams: list[int]) -> None:
    """Make this process what `start` was asked for, but for running its module."""
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    if request["new_session"]:
        os.setsid()
    elif request["process_group"] != -1:
        os.setpgid(0, request["process_group"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    os.environ.clear()
    os.environ.update(request["environment"])
    _reopen_streams()
    sys.argv = ["-m", *request["arguments"][1:]]


def _reopen_streams() -> None:
    """Replace the stream objects: they have kept whether the server's descriptors were files, pipes or terminals."""
    for name, mode in (("stdin", "rb"), ("stdout", "wb"), ("stderr", "wb")):
        old = getattr(sys, name)
        is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
        binary = open(old.fileno(), mode, 0 if is_unbuffered and mode == "wb" else -1, closefd=False)  # noqa: SIM115
        new = io.TextIOWrapper(
            binary,
            old.encoding,
            old.errors,
            newline="\n" if mode == "wb" else None,
            line_buffering=not is_unbuffered and (binary.isatty() or name == "stderr"),
            write_through=is_unbuffered,
        )
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _fork_server(imported_with: Mapping[str, str], unused: int) -> None:
    """Fork a server, without the descriptor `unused`, for what this process will start: it has no other threads yet."""
    global _server  # noqa: PLW0603 (one a process)
    ours, its = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.close(unused)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        _run(its, imported_with)
    its.close()
    _server = _ForkServer(ours, pid, imported_with)
    atexit.register(stop_server)
    subprocess.Popen = _ForkedPopen  # type: ignore[misc]


def _run(connection: socket.socket, imported_with: Mapping[str, str]) -> NoReturn:
    """Serve, and run what is asked for in the processes that are forked."""
    request, streams, ready = _serve(connection)
    _become(request, streams)
    if request["arguments"][:2] in MAY_START_OTHERS:
        _fork_server(imported_with, ready)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked_signals"])
    os.write(ready, _HEAD.pack(os.getpid()))
    os.close(ready)
    runpy.run_module(request["arguments"][0], run_name="__main__", alter_sys=True)
    sys.exit()


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise EOFError("the fork server has ended")
        received += part
    return received


def _adopt_orphans(wanted: int) -> None:
    """Let processes below this one become its children when their parents end, as long as it is wanted."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, wanted, 0, 0, 0)


def _main() -> NoReturn:
    imported_with = dict(os.environ)
    for name in PRELOADED:
        importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    gc.collect()
    gc.freeze()
    _run(socket.socket(fileno=int(sys.argv[1])), imported_with)


if __name__ == "__main__":
    _main()
