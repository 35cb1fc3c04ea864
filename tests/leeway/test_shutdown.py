from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from leeway.shutdown import (
    STOP_SIGNALS,
    cannot_start,
    defer_stop_signals,
    interrupt_on_stop_signal,
    on_stop_signal,
    stop_children,
)

ROOT = Path(__file__).parents[2]
WAIT_S = 20.0


@pytest.fixture(autouse=True)
def _restore_signal_handlers() -> Iterator[None]:
    """Handlers are as before when the test ends."""
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_the_reason_of_a_failed_start_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """However the reason is broken into lines; the exit code is 2."""
    assert cannot_start("leeway serve", "no\n  bundle") == 2
    assert capsys.readouterr().err == "leeway serve: no bundle\n"


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_calls_stop(number: signal.Signals) -> None:
    """SIGTERM and SIGINT do; after the block the handler of before is back."""
    calls: list[str] = []
    before = signal.getsignal(number)
    with on_stop_signal(lambda: calls.append("stop")):
        os.kill(os.getpid(), number)
    assert (calls, signal.getsignal(number)) == (["stop"], before)


def test_a_signal_during_the_start_is_deferred() -> None:
    """It calls stop once the process is ready to stop."""
    calls: list[str] = []
    defer_stop_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    assert calls == []
    with on_stop_signal(lambda: calls.append("stop")):
        assert calls == ["stop"]


def test_a_signal_during_the_shutdown_is_ignored() -> None:
    """It does not interrupt the flush, nor the interpreter's exit, which resets handlers but leaves `SIG_IGN`."""
    calls: list[str] = []
    defer_stop_signals()
    with on_stop_signal(lambda: calls.append("stop")):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    assert calls == []
    assert [signal.getsignal(number) for number in STOP_SIGNALS] == [signal.SIG_IGN] * 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stop_signal_interrupts_a_command(number: signal.Signals) -> None:
    """Inside the block SIGTERM and SIGHUP raise KeyboardInterrupt like Ctrl-C; then the old handler is back."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interrupt_on_stop_signal():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_swallowed_interrupt_is_raised_again() -> None:
    """If a library swallows the KeyboardInterrupt, the next check raises it; without a signal it does nothing."""
    with interrupt_on_stop_signal() as check:
        check()
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    """SIGKILL follows once the grace period is over."""
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        stop_children([child], grace_s=0.1)
        assert child.returncode == -signal.SIGKILL


def test_a_second_ctrl_c_kills_the_children_at_once() -> None:
    """The grace period ends with an exception, which propagates."""
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        started_s = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            stop_children([child], grace_s=60)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        assert child.returncode == -signal.SIGKILL
        assert time.monotonic() - started_s < WAIT_S


@pytest.mark.parametrize(
    "call",
    [
        "threading.Thread(target=time.sleep, args=(60,)).start(); force_exit_if_threads_remain(0); sys.exit(1)",
        "with forced_exit_after(0.1): time.sleep(60)",
    ],
    ids=["a thread remains", "the block hangs"],
)
def test_nothing_that_hangs_keeps_the_process(call: str) -> None:
    """The process ends with its exit code nevertheless, its output written."""
    program = f"""
import sys, threading, time
from leeway.shutdown import force_exit_if_threads_remain, forced_exit_after
print("served")
{call}
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "served\n")
