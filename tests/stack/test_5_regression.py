"""After all others: the same stack with a model of a number in place of the classifier."""

from __future__ import annotations

from typing import Any, Final

import httpx2
import pytest

from benchmarks.live import backends
from benchmarks.live.stack import SERVICE, Stack, eventually, get
from leeway.telemetry import names

pytestmark = pytest.mark.stack

BUNDLE: Final = "/var/lib/leeway/models/bundle"
TRAIN: Final = f"""
import subprocess
from sklearn.datasets import load_diabetes
load_diabetes(as_frame=True, scaled=False).frame.to_csv("/tmp/diabetes.csv", index=False)
command = ["leeway", "train", "--data", "/tmp/diabetes.csv", "--target", "target", "--bundle", "{BUNDLE}"]
subprocess.run(command, check=True)
"""
TRAFFIC: Final = ("--rate", "30", "--duration", "20", "--labels", "--label-delay", "1")


@pytest.fixture(scope="module")
def version(stack: Stack) -> str:
    """The version of a model for the progression of diabetes, which the service and the worker use from now on."""
    stack.compose("run", "--rm", "--no-deps", "setup", "python", "-c", TRAIN)
    stack.compose("restart", "service", "drift")

    def served() -> str | None:
        card = get(f"{SERVICE}/model").raise_for_status().json()
        return str(card["version"]) if card["target"]["task"] == "regression" else None

    found = eventually(served, 60)
    assert found
    stack.compose("run", "--rm", "--no-deps", "traffic", "leeway", "traffic", *TRAFFIC)
    return found


def mean_absolute_error(stack: Stack, version: str) -> float | None:
    """The live one in the newest drift run of this version that has it."""
    path = "'{performance,figures,mae,current}'"
    query = f"select result #>> {path} from drift_runs where model_version = '{version}' and result #>> {path} <> ''"
    return next(map(float, stack.sql(f"{query} order by finished_at desc limit 1")), None)


def test_a_number_is_answered(stack: Stack, version: str) -> None:
    """A prediction is a number, without a probability, and reaches a table with a column of numbers."""
    example = {name: feature["seen"]["minimum"] for name, feature in features().items()}
    reply = httpx2.post(f"{SERVICE}/predict", json={"features": example}, trust_env=False).raise_for_status().json()
    assert 25 < reply["prediction"] < 346
    assert "probability" not in reply
    table = f"predictions_{fingerprint(stack)}"
    where = f"prediction_id = '{reply['prediction_id']}' and model_version = '{version}'"
    (stored,) = eventually(lambda: stack.sql(f"select prediction from {table} where {where}"), 30)
    assert float(stored) == pytest.approx(reply["prediction"])


def features() -> dict[str, dict[str, Any]]:
    """The served model's features by name."""
    return {each["name"]: each for each in get(f"{SERVICE}/model").json()["features"]}


def fingerprint(stack: Stack) -> str:
    """The fingerprint of the bundle, which its tables are named by."""
    source = f"import json; print(json.load(open('{BUNDLE}/manifest.json'))['schema_fingerprint'])"
    return stack.python("service", source).strip()


def test_errors_are_judged(stack: Stack, version: str) -> None:
    """The worker reports the live mean absolute error beside that of the card, in its result and to Prometheus."""
    error = eventually(lambda: mean_absolute_error(stack, version), 90)
    assert error
    assert 10 < error < 200
    asked = f'{names.MODEL_PERFORMANCE.prometheus_name}{{leeway_model_figure="mae"}}'
    assert eventually(lambda: {each["leeway_model_basis"] for each, _ in backends.query(asked)} >= {"card", "live"}, 60)


def test_positions_have_the_buckets_of_scores(version: str) -> None:
    """Predicted numbers are counted by their position in the reference, so the rule without the worker holds."""
    of_version = f'{{leeway_model_version="{version}"}}'
    middle = f'{names.PREDICTION_SCORES.prometheus_name}_bucket{{leeway_model_version="{version}",le="0.5"}}'
    below = eventually(lambda: backends.value(middle), 60)
    assert 0 < below < backends.value(f"{names.PREDICTION_SCORES.prometheus_name}_count{of_version}")
    assert eventually(lambda: backends.query(f"leeway:score:wasserstein5m{of_version}"), 120)
