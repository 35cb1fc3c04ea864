from __future__ import annotations

import re

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from cli.demo.samples import NOT_USUAL, USUAL, Samples, between, quantile, read_sample
from leeway.telemetry import names
from leeway.telemetry.exporters import prometheus_text
from leeway.telemetry.instruments import histogram, our_views
from tests.cli.demo.example_run import at


class Measured:
    """A service's metrics, as it would serve them."""

    def __init__(self) -> None:
        reader, self._text = prometheus_text()
        meter = MeterProvider([reader], views=our_views(), shutdown_on_exit=False).get_meter("test")
        self._http = histogram(meter, names.HTTP_REQUEST_DURATION)
        self._prediction = histogram(meter, names.PREDICTION_DURATION)

    def answer(self, seconds: float, kind: str = "usual", route: str = "/predict", status: int = 200) -> None:
        """Record an answered request."""
        self._http.record(seconds, {names.HTTP_METHOD: "POST", names.HTTP_ROUTE: route, names.HTTP_STATUS: status})
        if route == "/predict":
            self._prediction.record(seconds, {names.MODEL_VERSION: "v1", names.TYPICALITY: kind})

    def text(self) -> str:
        """The text of `/metrics`."""
        return self._text()[0].decode()


@pytest.fixture
def measured() -> Measured:
    """A service without requests so far."""
    return Measured()


def test_figures_are_those_between_two_samples(measured: Measured) -> None:
    """Earlier answers do not count; rate and quantiles are those of the interval."""
    for _ in range(50):
        measured.answer(0.4)
    before = read_sample(measured.text(), at(0))
    for _ in range(20):
        measured.answer(0.0015)
    found = between(before, read_sample(measured.text(), at(2)))
    assert (found.rate, found.failed, found.latency.count) == (10.0, 0, 20)
    assert found.latency.p50 == pytest.approx(1.5)
    assert found.latency.p99 is not None
    assert found.latency.p99 <= 2.0


def test_a_series_without_a_status_is_not_a_failure(measured: Measured) -> None:
    """An answer whose series has no status counts as answered, not as failed."""
    measured.answer(0.001)
    text = re.sub(r'http_response_status_code="200",?', "", measured.text())
    sample = read_sample(text, at(0))
    assert (sample.answered, sample.failed) == (1, 0)


def test_batches_count_without_latency(measured: Measured) -> None:
    """Rate and failures include batches, latency only single predictions; other routes do not count."""
    before = read_sample(measured.text(), at(0))
    measured.answer(0.001)
    measured.answer(0.2, route="/predict/batch", status=500)
    measured.answer(0.3, route="/feedback", status=202)
    found = between(before, read_sample(measured.text(), at(1)))
    assert (found.rate, found.failed, found.latency.count) == (2.0, 1, 1)


def test_unusual_and_strange_are_one_kind(measured: Measured) -> None:
    """Input with unusual features is one kind, usual input the other."""
    before = read_sample(measured.text(), at(0))
    for seconds, kind in ((0.0015, "usual"), (0.004, "unusual"), (0.004, "strange")):
        measured.answer(seconds, kind)
    found = between(before, read_sample(measured.text(), at(1))).by_kind
    assert (found[USUAL].count, found[NOT_USUAL].count) == (1, 2)
    assert found[NOT_USUAL].p50 == pytest.approx(4.0)


def test_nothing_answered_is_unknown(measured: Measured) -> None:
    """Without answers the latency is None, not 0."""
    sample = read_sample(measured.text(), at(0))
    found = between(sample, read_sample(measured.text(), at(1)))
    assert (found.rate, found.latency.p95, found.by_kind[NOT_USUAL].p95) == (0.0, None, None)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.01), (0.75, 0.015), (0.99, 0.02), (0.1, 0.002)])
def test_quantiles_are_those_of_prometheus(share: float, expected: float) -> None:
    """Within a bucket the quantile is linear; in the last one it is that bucket's lower bound."""
    assert quantile({0.01: 50.0, 0.02: 100.0 if share < 0.9 else 90.0, float("inf"): 100.0}, share) == pytest.approx(
        expected
    )


def test_figures_look_back_three_seconds(measured: Measured) -> None:
    """Each sample's figures are those of the three seconds before it; the first sample has none."""
    assert Samples().now is None
    samples = Samples()
    for second in range(8):
        for _ in range(second):
            measured.answer(0.001)
        samples.add(read_sample(measured.text(), at(second)))
    assert samples.now is not None
    assert samples.now.latency.count == 5 + 6 + 7
    assert [each.at for each in samples.over_time] == [at(second) for second in range(1, 8)]


def test_an_act_has_its_own_figures(measured: Measured) -> None:
    """Figures of an interval come from its samples only; one sample is too few."""
    samples = Samples()
    for second in range(6):
        measured.answer(0.001)
        samples.add(read_sample(measured.text(), at(second)))
    found = samples.within(at(1), at(4))
    assert found is not None
    assert found.latency.count == 3
    assert samples.within(at(1), at(1.5)) is None
