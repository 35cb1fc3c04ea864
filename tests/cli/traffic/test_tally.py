from __future__ import annotations

import numpy as np
import pytest

from cli.traffic.tally import _MAX_RECENT, RECENT_S, Latencies, Tally, counted


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_quantiles_are_accurate_to_one_percent(share: float) -> None:
    """A quantile of many latencies is within 1 % of the exact one."""
    drawn = np.random.default_rng(1).lognormal(-5, 1, 20_000)
    found = Latencies()
    for each in drawn:
        found.add(float(each))
    assert found.quantile_ms(share) == pytest.approx(1_000 * np.quantile(drawn, share), rel=0.011)


def test_quantiles_need_latencies() -> None:
    """Without latencies the quantile is None, not 0."""
    assert Latencies().quantile_ms(0.5) is None


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e9])
def test_absurd_latencies_are_counted(seconds: float) -> None:
    """Latencies beyond the range are still counted."""
    found = Latencies()
    found.add(seconds)
    assert len(found) == 1


def test_recent_figures_forget() -> None:
    """The live figures are those of the last seconds."""
    tally = Tally()
    tally.took("features", 9.0, 1.0)
    for place in range(50):
        tally.took("features", 0.001 * place, 10.0 + place / 10)
    rate, quantiles = tally.recent(10.0 + RECENT_S)
    assert rate == pytest.approx(10.0)
    assert quantiles == [25.0, 47.0, 49.0]


def test_bad_input_does_not_count_as_latency() -> None:
    """Rejections are fast, and must not make the answers look fast."""
    tally = Tally()
    tally.took("bad", 0.001, 1.0)
    tally.took("features", 0.1, 1.0)
    assert len(tally.good_latencies) == 1
    assert tally.recent(1.0)[1] == [100.0, 100.0, 100.0]


def test_memory_is_bounded() -> None:
    """Only the last few thousand requests are kept, however many there were."""
    tally = Tally()
    for place in range(2 * _MAX_RECENT):
        tally.took("features", 0.001, place / 10_000)
    assert len(tally._recent) == _MAX_RECENT
    assert tally.recent(1.0)[0] == pytest.approx(10_000, rel=0.01)


def test_errors_are_listed_by_kind() -> None:
    """Errors have their counts, the most frequent first."""
    tally = Tally()
    tally.errors.update({"HTTP 503": 1, "not sent": 1_200})
    assert counted(tally.errors) == "1,200 × not sent, 1 × HTTP 503"
