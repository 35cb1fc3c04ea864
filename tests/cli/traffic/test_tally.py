from __future__ import annotations

import numpy as np
import pytest

from cli.traffic.tally import _MAX_RECENT, RECENT_S, Latencies, Tally, counted


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_quantiles_are_right_to_one_percent(share: float) -> None:
    """A quantile of many latencies is within 1 % of the exact one."""
    drawn = np.random.default_rng(1).lognormal(-5, 1, 20_000)
    found = Latencies()
    for each in drawn:
        found.add(float(each))
    assert found.quantile_s(share) == pytest.approx(np.quantile(drawn, share), rel=0.011)


def test_no_latency_has_no_quantile() -> None:
    """Where nothing was measured there is no number, and not 0."""
    assert Latencies().quantile_s(0.5) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9])
def test_absurd_latencies_are_counted(seconds: float) -> None:
    """What is shorter or longer than can be told apart is counted all the same."""
    found = Latencies()
    found.add(seconds)
    assert len(found) == 1


def test_recent_forgets() -> None:
    """The live figures are those of the last seconds."""
    tally = Tally()
    tally.took("features", 9.0, 1.0)
    for place in range(50):
        tally.took("features", 0.001 * place, 10.0 + place / 10)
    rate, quantiles = tally.recent(10.0 + RECENT_S)
    assert rate == pytest.approx(10.0)
    assert quantiles == [0.025, 0.047, 0.049]


def test_bad_input_is_no_part_of_the_latency() -> None:
    """Refusals are quick, and must not make the answers look so."""
    tally = Tally()
    tally.took("bad", 0.001, 1.0)
    tally.took("features", 0.1, 1.0)
    assert len(tally.good_latencies()) == 1
    assert tally.recent(1.0)[1] == [0.1, 0.1, 0.1]


def test_memory_is_bounded() -> None:
    """However many requests there were, no more than the last few thousand are kept."""
    tally = Tally()
    for place in range(2 * _MAX_RECENT):
        tally.took("features", 0.001, place / 10_000)
    assert len(tally._recent) == _MAX_RECENT
    assert tally.recent(1.0)[0] == pytest.approx(10_000, rel=0.01)


def test_errors_are_told_by_kind() -> None:
    """Errors are told with their number, the most frequent first."""
    tally = Tally()
    tally.errors.update({"HTTP 503": 1, "not sent": 1_200})
    assert counted(tally.errors) == "1,200 × not sent, 1 × HTTP 503"
