from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import format_span_id, format_trace_id

from leeway.telemetry import names
from tests.service.observed import STRANGE, UNUSUAL, Observed
from tests.telemetry import span_id


@pytest.mark.parametrize(("changes", "expected"), [({}, 0), (UNUSUAL, 1), (STRANGE, 3)])
def test_unusual_features_are_counted(service: Observed, changes: dict[str, Any], expected: int) -> None:
    """The histogram holds how many features of the request lie outside what the reference held."""
    service.predict(changes)
    (point,) = service.telemetry.collect().points(names.UNUSUAL_FEATURES)
    assert (point.count, point.sum) == (1, expected)


def test_unusual_features_lead_to_their_trace(service: Observed) -> None:
    """The exemplar is the very request that was unusual."""
    answer = service.predict(STRANGE).json()
    (exemplar,) = service.telemetry.collect().exemplars(names.UNUSUAL_FEATURES)
    server = service.telemetry.server_span()
    ids = (format_trace_id(exemplar.trace_id or 0), format_span_id(exemplar.span_id or 0), exemplar.value)
    assert ids == (answer["trace_id"], span_id(server), 3)


def test_an_unsampled_request_leaves_no_exemplar(service: Observed) -> None:
    """A link to a trace that was not kept would lead nowhere."""
    service.predict(STRANGE, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    assert service.telemetry.collect().exemplars(names.UNUSUAL_FEATURES) == []


def test_every_row_of_a_batch_counts(service: Observed) -> None:
    """Scores and unusual features are measured for each item of a batch."""
    items = [{"features": service.example}, {"features": service.example | STRANGE}]
    service.client.post("/predict/batch", json={"items": items})
    measured = service.telemetry.collect()
    assert (measured.total(names.PREDICTION_SCORES), measured.total(names.UNUSUAL_FEATURES)) == (2, 2)


def test_scores_are_measured_by_outcome(service: Observed) -> None:
    """A score lands under the model's version and the prediction that it became."""
    answer = service.predict().json()
    (point,) = service.telemetry.collect().points(names.PREDICTION_SCORES)
    attributes = {names.MODEL_VERSION: answer["model"]["version"], names.OUTCOME: answer["prediction"]}
    assert (dict(point.attributes), point.sum) == (attributes, answer["probability"])


def test_the_references_scores_are_told_by_bucket(service: Observed) -> None:
    """The reference's cumulative shares carry the bounds of the score histogram, and end at 1."""
    points = service.telemetry.collect().points(names.SCORE_REFERENCE)
    shares = {float(point.attributes["le"]): point.value for point in points}
    assert tuple(sorted(shares)) == names.SCORE_BUCKETS
    assert shares[1.0] == 1
