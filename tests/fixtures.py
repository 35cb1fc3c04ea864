"""What most tests need: a population, models trained on it, and a service in this process that serves one of them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks.postgresql import NoPostgreSQL, a_postgresql
from leeway.data.population import Population, population
from leeway.data.tabular import TrainingData, typed_frame
from leeway.model import bundle as bundles
from leeway.model import drift_plan
from leeway.model.bundle import Bundle
from leeway.model.distances import Method, noise_constant
from leeway.model.encoding import Encoder
from leeway.model.frame import FrameLayout
from leeway.model.sklearn import encode_frame
from leeway.model.training import train
from leeway.model.writer import Origin, Reference, bundle_pipeline
from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema, Value
from tests.datasets import REAL
from tests.fakes import Service, service_over

CUSTOMERS = 2_000
AS_OF = date(2026, 1, 31)

AWKWARD_SCHEMA = FeatureSchema(
    (
        Feature("score", "number"),
        Feature("user_id", "category"),
        Feature("values", "integer", nullable=True),
        Feature("model_config", "flag"),
        Feature("request", "number", nullable=True),
        Feature("_private name", "integer", minimum=-5),
        Feature("a.b-c", "category", nullable=True),
        Feature("feature_names", "number"),
        Feature("f3", "number"),
    )
)
"""Features whose names are taken in Python, in pydantic or in our own tables."""

Serve: TypeAlias = Callable[..., Service]
RealBundle: TypeAlias = Callable[[str], Bundle]


@pytest.fixture(scope="session")
def people() -> Population:
    """Two thousand customers of the built-in population, `7590-VHVEG` the first."""
    return population(customers=CUSTOMERS)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server: `LEEWAY_TEST_POSTGRES_URL`, or one of our own where it is installed."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(a_postgresql())
        except NoPostgreSQL as error:
            pytest.skip(str(error))
        yield url


_noise_constants: dict[tuple[Hashable, ...], float] = {}


def memoized_noise_constant(values: npt.ArrayLike, method: Method, *, features: int, seed: int = 0) -> float:
    """`noise_constant`, which depends on nothing but its arguments."""
    column = np.asarray(values)
    rows = column.tobytes() if column.dtype.kind in "biuf" else tuple(column.tolist())
    key = (rows, column.dtype.str, method, features, seed)
    if key not in _noise_constants:
        _noise_constants[key] = noise_constant(column, method, features=features, seed=seed)
    return _noise_constants[key]


@pytest.fixture(scope="session", autouse=True)
def _noise_constants_once() -> Iterator[None]:
    """Compute each noise constant once per process: half of a training, and most tests train on the same rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drift_plan, "noise_constant", memoized_noise_constant)
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Bundle:
    """The bundle that `make` writes: one of several test processes makes it, and all of them load it."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / name / "bundle"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():  # it is written in one step
            make(folder)
    return bundles.load(folder)


@pytest.fixture(scope="session")
def bundle(people: Population, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A churn model trained on `people`, as loaded from its folder; tests read it and never change it."""
    data = TrainingData(CHURN_SCHEMA, typed_frame(CHURN_SCHEMA, people.columns), np.array(people.labels))
    origin = Origin(name="churn", target="churn", source="the built-in population", as_of=AS_OF.isoformat())
    made = made_once(tmp_path_factory, "model", lambda folder: train(data, folder, origin))
    assert made.card.scorer == "onnx", made.card.scorer_reason
    return made


@pytest.fixture(scope="session")
def sklearn_bundle(people: Population, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A churn model that ONNX cannot express, so that scikit-learn scores it."""

    def make(folder: Path) -> None:
        encoder, frame = Encoder(CHURN_SCHEMA), typed_frame(CHURN_SCHEMA, people.columns)
        layout = FrameLayout.plain(CHURN_SCHEMA)
        columns = [
            ("numbers", "passthrough", ["months_active", "monthly_fee", "support_tickets_90d"]),
            ("no internet", MissingIndicator(), ["plan_stream_tv"]),
        ]
        pipeline = make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=1_000))
        pipeline.fit(layout.frame(encoder, encode_frame(encoder, frame)), people.labels)
        reference = Reference(frame, np.array(people.labels))
        bundle_pipeline(pipeline, reference, folder, schema=CHURN_SCHEMA, layout=layout)

    made = made_once(tmp_path_factory, "sklearn-model", make)
    assert made.card.scorer == "scikit-learn"
    return made


@pytest.fixture(scope="session")
def awkward_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small model of `AWKWARD_SCHEMA`."""
    rows = [awkward_row(place) for place in range(300)]
    frame = typed_frame(AWKWARD_SCHEMA, {name: [row[name] for row in rows] for name in AWKWARD_SCHEMA.names})
    labels = np.array([int(place % 3 == 0) for place in range(300)])
    data = TrainingData(AWKWARD_SCHEMA, frame, labels)
    return made_once(tmp_path_factory, "awkward-model", lambda folder: train(data, folder, Origin(name="awkward")))


def awkward_row(place: int) -> dict[str, Value]:
    """One valid row of `AWKWARD_SCHEMA`."""
    return {
        "score": place % 3 + 0.5,
        "user_id": "xy"[place % 2],
        "values": None if place % 10 == 0 else place,
        "model_config": place % 4 == 0,
        "request": None if place % 7 == 0 else place / 8,
        "_private name": place % 10 - 5,
        "a.b-c": None if place % 9 == 0 else "pq"[place % 2],
        "feature_names": place / 4,
        "f3": -place / 4,
    }


@pytest.fixture(scope="session")
def real_bundle(tmp_path_factory: pytest.TempPathFactory) -> RealBundle:
    """A function that gives the model of one of the real tables of `tests.datasets`, trained once."""

    def of(name: str) -> Bundle:
        made = made_once(tmp_path_factory, name, lambda folder: train(REAL[name](), folder, Origin(name=name)))
        assert made.card.scorer == "onnx", made.card.scorer_reason
        return made

    return of


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start services in this process: `serve(bundle, …)`, with the options of `tests.fakes.service_over`."""
    with ExitStack() as stack:

        def start(bundle: Bundle, **options: Any) -> Service:  # noqa: ANN401 (handed on)
            return stack.enter_context(service_over(bundle, tmp_path, **options))

        yield start


@pytest.fixture
def service(serve: Serve, bundle: Bundle, people: Population) -> Service:
    """A service with a database and a spool of its own, and the first twenty customers as of `AS_OF`."""
    started = serve(bundle)
    started.ingest(people, AS_OF)
    return started


@pytest.fixture
def example(bundle: Bundle) -> dict[str, Value]:
    """Typical features, of which a test may change one."""
    return dict(bundle.card.example)
