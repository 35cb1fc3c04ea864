from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.serving.losses import Losses, delay_ms
from benchmarks.serving.open_loop import Arrivals, due_times, open_loop, quantile, wire
from benchmarks.serving.sink import Totals

STALL_S = 0.2
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def stalling_port() -> Iterator[int]:
    """A server that answers one connection at a time, at once, but its first request late."""
    is_first = threading.Event()

    def answer(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65_536):
                with lock:
                    if not is_first.is_set():
                        is_first.set()
                        time.sleep(STALL_S)
                connection.sendall(ANSWER[:20])
                connection.sendall(ANSWER[20:])

    def serve() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    lock, threads = threading.Lock(), list[threading.Thread]()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=serve)
        acceptor.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    acceptor.join()
    for thread in threads:
        thread.join()


def test_a_stall_counts_for_all_requests_that_it_delays(stalling_port: int) -> None:
    """Requests are sent on time during a stall, and their latencies count from then."""
    found = open_loop(stalling_port, [wire(b"{}")], rate=200, seconds=2 * STALL_S)
    due = due_times(200, 2 * STALL_S, seed=7)
    assert (len(found.latencies_s), found.failed) == (len(due), 0)
    during = [at_s for at_s in due if at_s < due[0] + STALL_S]
    delayed_s = sorted(due[0] + STALL_S - at_s for at_s in during)
    assert quantile(found.latencies_s, 1) >= delayed_s[-1]
    assert sum(found.latencies_s) >= sum(delayed_s)


def test_arrivals_are_random_and_repeatable() -> None:
    """Their mean rate is the one asked for; the same seed gives the same times."""
    times = due_times(1_000, 10, seed=1)
    assert times == sorted(times) == due_times(1_000, 10, seed=1)
    assert times != due_times(1_000, 10, seed=2)
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert max(times) < 10


def test_a_quantile_is_a_value_that_was_measured() -> None:
    """Of a hundred values the 99th percentile is the 99th."""
    hundred = [float(number) for number in range(1, 101)]
    assert [quantile(hundred, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert quantile([3.0], 0.99) == 3
    assert Arrivals(hundred, hundred, 0).p99_ms() == 99_000


def test_connections_wait_so_long_that_the_rate_is_not_exceeded() -> None:
    """Rounding makes the rate smaller, never greater."""
    assert [delay_ms(64, rate) for rate in (64, 10_000, 9_999)] == [1_000, 7, 7]


def test_losses_are_spans_that_neither_arrived_nor_were_counted() -> None:
    """A service may count more than were lost, which hides nothing."""
    lost = Losses(10, Totals(spans=15, requests=10, dropped=3))
    assert (lost.spans, lost.uncounted, lost.measurements) == (5, 2, 0)
    assert Losses(12, Totals(spans=20, requests=10, dropped=4)).uncounted == 0
    assert Losses(12, Totals(spans=20, requests=10)).measurements == 2
    assert Totals(5, 4, 3).since(Totals(3, 2, 1)) == Totals(2, 2, 2)
