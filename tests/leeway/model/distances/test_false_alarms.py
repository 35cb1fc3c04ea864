from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from leeway.model.distances import (
    Method,
    effective_threshold,
    jensenshannon,
    method_for,
    noise_constant,
    wasserstein_normed,
)
from tests.leeway.model.distances.columns import NAN, SEED

Frame: TypeAlias = Mapping[str, npt.NDArray[np.float64]]


def drawn(rng: np.random.Generator, rows: int) -> Frame:
    """Customers of one population: 14 numbers, counts, flags and codes; some missing, some heavy-tailed."""
    net = rng.choice(3, rows, p=[0.34, 0.44, 0.22])
    offline = net == 2
    return {
        "months": np.where(rng.random(rows) < 0.3, rng.integers(0, 6, rows), rng.integers(0, 73, rows)).astype(float),
        "fee": np.round(rng.normal(np.array([58, 91, 20])[net], np.array([16, 12, 1])[net]), 1),
        "paperless": (rng.random(rows) < 0.6).astype(float),
        "tv": np.where(offline, NAN, rng.random(rows) < 0.49),
        "films": np.where(offline, NAN, rng.random(rows) < 0.5),
        "net": net.astype(float),
        "hours": rng.normal(30, 7, rows),
        "session": rng.lognormal(3.3, 0.6, rows),
        "spending": rng.pareto(3, rows),
        "skips": rng.poisson(5, rows).astype(float),
        "stalls": rng.poisson(2.3, rows).astype(float),
        "failed": np.minimum(rng.poisson(0.16, rows), 2).astype(float),
        "tickets": np.minimum(rng.poisson(0.3, rows), 4).astype(float),
        "resolution": np.where(rng.random(rows) < 0.74, NAN, rng.gamma(6, 1.7, rows)),
    }


@dataclass(frozen=True)
class Reference:
    """A drawn reference with each feature's method and noise constant, as a bundle has them."""

    frame: Frame
    methods: Mapping[str, Method]
    noise: Mapping[str, float]

    @classmethod
    def of(cls, frame: Frame) -> Reference:
        """Work out both from the frame."""
        methods = {name: method_for("number", column) for name, column in frame.items()}
        noise = {name: noise_constant(frame[name], methods[name], features=len(frame)) for name in frame}
        return cls(frame, methods, noise)

    def redrawn(self, rng: np.random.Generator, rows: int) -> Frame:
        """A window of its own rows, with replacement."""
        picked = rng.integers(0, self.frame["net"].size, rows)
        return {name: column[picked] for name, column in self.frame.items()}

    def detected(self, window: Frame) -> list[str]:
        """The features whose distance reaches the effective threshold."""
        distance = {"wasserstein": wasserstein_normed, "jensenshannon": jensenshannon}
        return [
            name
            for name, method in self.methods.items()
            if distance[method](self.frame[name], window[name])
            >= effective_threshold(self.noise[name], window[name].size, self.frame[name].size)
        ]


@pytest.fixture(scope="module")
def references() -> list[Reference]:
    """Two references of 2,113 rows: the second in case the first is a lucky one."""
    rng = np.random.default_rng(SEED)
    return [Reference.of(drawn(rng, 2_113)) for _ in range(2)]


@pytest.mark.parametrize("subjects", [200, 500, 1_000, 5_000])
def test_no_false_alarm_in_windows_of_the_reference(subjects: int, references: list[Reference]) -> None:
    """Of 300 windows drawn from the reference at most 7 in a hundred show any detected feature."""
    rng = np.random.default_rng(subjects)
    alarms = [bool(each.detected(each.redrawn(rng, subjects))) for each in references for _ in range(150)]
    assert np.mean(alarms) <= 0.07


@pytest.mark.parametrize("subjects", [200, 500, 1_000, 5_000])
def test_no_false_alarm_in_windows_of_other_customers(subjects: int, references: list[Reference]) -> None:
    """Nor do more of 300 windows drawn afresh from the reference's population."""
    rng = np.random.default_rng(subjects)
    alarms = [bool(each.detected(drawn(rng, subjects))) for each in references for _ in range(150)]
    assert np.mean(alarms) <= 0.07


def test_no_false_alarm_against_a_small_reference() -> None:
    """A reference of 300 rows is itself noise, and the threshold allows for it: 5 references, 300 windows."""
    rng = np.random.default_rng(SEED)
    alarms = []
    for _ in range(5):
        small = Reference.of(drawn(rng, 300))
        alarms += [bool(small.detected(drawn(rng, 1_000))) for _ in range(60)]
    assert np.mean(alarms) <= 0.07


def test_a_shift_is_seen(references: list[Reference]) -> None:
    """The thresholds are not blind: half a standard deviation is found in each of 50 windows of 200."""
    rng = np.random.default_rng(SEED)
    for _ in range(50):
        window = dict(drawn(rng, 200))
        window["hours"] = window["hours"] + 3.5
        assert "hours" in references[0].detected(window)
