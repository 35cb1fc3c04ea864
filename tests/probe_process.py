"""A program that prints what it was started with, or ends in a given way: `python -m tests.probe_process COMMAND`."""

from __future__ import annotations

import json
import os
import signal
import sys
from io import TextIOWrapper


def seen() -> dict[str, object]:
    """What a process can see of its start."""
    streams = [each for each in (sys.stdin, sys.stdout, sys.stderr) if isinstance(each, TextIOWrapper)]
    return {
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),  # noqa: PTH109 (as text)
        "first import folder": sys.path[0],
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "parent": os.getppid(),
        "leads a session": os.getsid(0) == os.getpid(),
        "leads a group": os.getpgid(0) == os.getpid(),
        "Ctrl-C raises": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "SIGTERM": str(signal.getsignal(signal.SIGTERM)),
        "blocked signals": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
        "streams": [(each.seekable(), each.isatty(), each.line_buffering, each.write_through) for each in streams],
        "input": sys.stdin.read(),
        "module": __name__,
    }


def main() -> None:
    """Do what the argument says."""
    command = sys.argv[1]
    if command == "see":
        sys.stdout.write(json.dumps(seen()))
    elif command == "exit":
        sys.stdout.write("a line\nand more")
        sys.exit(3)
    elif command == "raise":
        raise RuntimeError(command)
    else:
        os.kill(os.getpid(), signal.Signals[command])
        signal.pause()


if __name__ == "__main__":
    main()
