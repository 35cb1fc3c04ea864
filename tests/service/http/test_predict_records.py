from __future__ import annotations

from datetime import UTC, datetime

from leeway.data.population import Population
from leeway.schema import CHURN_SCHEMA, Value
from tests.conftest import AS_OF
from tests.fakes import TRACE, Service

Example = dict[str, Value]


def test_what_is_answered_is_recorded(service: Service) -> None:
    """The spool holds the answer with all its values before the answer is sent."""
    before = datetime.now(UTC)

    answer = service.post("/predict", {"user_id": "7590-VHVEG"}).json()

    (record,) = service.spooled()
    assert before <= record.predicted_at <= datetime.now(UTC)
    assert record.lookup_duration_s is not None
    assert 0 < record.inference_duration_s < 1
    assert (record.trace_id, record.span_id) == (TRACE.trace_id, TRACE.span_id)
    assert (record.user_id, record.as_of) == ("7590-VHVEG", AS_OF)
    assert (record.prediction_id, record.model_version) == (answer["prediction_id"], answer["model"]["version"])
    assert (record.features, record.score, record.prediction) == (
        CHURN_SCHEMA.row(answer["features_used"]),
        answer["probability"],
        answer["prediction"],
    )


def test_what_is_recorded_reaches_the_database(service: Service, people: Population) -> None:
    """The database gets every value of the record, in typed columns."""
    answer = service.post("/predict", {"user_id": "7590-VHVEG"}).json()
    service.move()

    (row,) = service.rows(service.tables.predictions)
    assert {name: row[name] for name in CHURN_SCHEMA.names} == people.row(0)
    assert (row["prediction_id"], row["score"], row["user_id"]) == (
        answer["prediction_id"],
        answer["probability"],
        "7590-VHVEG",
    )


def test_a_trace_that_is_not_sampled_is_not_recorded(service: Service, example: Example) -> None:
    """The answer names its trace; the record does not where a link to it would lead nowhere."""
    service.probe.trace = type(TRACE)(TRACE.trace_id, TRACE.span_id, sampled=False)

    answer = service.post("/predict", {"features": example}).json()

    (record,) = service.spooled()
    assert (answer["trace_id"], record.trace_id) == (TRACE.trace_id, None)


def test_what_is_refused_is_not_recorded(service: Service) -> None:
    """Neither an invalid request nor an unknown customer leaves a record."""
    service.post("/predict", {"features": {}})
    service.post("/predict", {"user_id": "nobody"})

    assert service.spooled() == []
