from __future__ import annotations

from typing import Any

import pytest

from leeway.model.bundle import Bundle
from leeway.model.encoding import Encoded
from leeway.schema import Value
from service.http.bodies import MAX_BODY_BYTES
from service.http.problems import MEDIA_TYPE, TITLES
from tests.fakes import SMALLEST_SPOOL_BYTES, TRACE, Service
from tests.fixtures import Serve

Example = dict[str, Value]
MEMBERS = {"type", "title", "status", "detail", "trace_id"}


def provoke(service: Service, status: int) -> Any:  # noqa: ANN401 (the client's response)
    """A request that is answered with this status."""
    if status == 503:
        service.lose_database()
    method, path, body, content_type = {
        400: ("POST", "/predict", b"{", "application/json"),
        404: ("GET", "/nothing/here", b"", ""),
        405: ("GET", "/predict", b"", ""),
        413: ("POST", "/predict", b" " * (MAX_BODY_BYTES + 1), "application/json"),
        415: ("POST", "/predict", b"{}", "text/plain"),
        422: ("POST", "/predict", b"{}", "application/json"),
        503: ("POST", "/predict", b'{"user_id": "7590-VHVEG"}', "application/json"),
    }[status]
    return service.client.request(method, path, content=body, headers={"content-type": content_type})


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415, 422, 503])
def test_every_error_is_a_problem_document(service: Service, status: int) -> None:
    """Whatever goes wrong: RFC 9457's media type and members, the status twice, and the trace."""
    response = provoke(service, status)
    problem = response.json()

    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    assert problem.keys() - {"errors"} == MEMBERS
    assert (problem["status"], problem["title"], problem["trace_id"]) == (status, TITLES[status], TRACE.trace_id)
    assert problem["type"].startswith("urn:leeway:problem:")


@pytest.mark.parametrize("status", [404, 422, 503])
def test_trace_id_is_null_without_telemetry(service: Service, status: int) -> None:
    """Where telemetry is off the member is null."""
    service.probe.trace = None

    assert provoke(service, status).json()["trace_id"] is None


class Broken:
    """A scorer that fails."""

    def score(self, encoded: Encoded) -> Any:  # noqa: ANN401, ARG002 (the protocol's signature; it never returns)
        """Fail."""
        raise RuntimeError("the secret of line 42")


def test_an_unexpected_error_is_a_problem_without_internals(serve: Serve, bundle: Bundle, example: Example) -> None:
    """An unexpected exception is a 500 problem document that reveals nothing of the code."""
    service = serve(bundle, scorer=Broken())

    response = service.post("/predict", {"features": example})

    assert (response.status_code, response.headers["content-type"]) == (500, MEDIA_TYPE)
    assert response.json().keys() == MEMBERS
    assert "secret" not in response.text
    assert "RuntimeError" not in response.text


def test_the_probe_gets_an_unexpected_error(serve: Serve, bundle: Bundle, example: Example) -> None:
    """Latency includes failures: the probe gets the exception's type."""
    service = serve(bundle, scorer=Broken())
    service.post("/predict", {"features": example})

    assert service.probe.failures == ["RuntimeError"]


def test_one_failure_does_not_end_the_service(serve: Serve, bundle: Bundle, example: Example) -> None:
    """After an unexpected error the next request is answered."""
    service = serve(bundle, scorer=Broken())
    service.post("/predict", {"features": example})

    assert service.client.get("/model").status_code == 200


# --- content types --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "text/json", "application/notjson", "application/x-www-form-urlencoded", ";;;"]
)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback"])
def test_only_json_is_accepted(service: Service, path: str, content_type: str | None) -> None:
    """A missing or other content type is 415, and the detail names the right one."""
    response = service.post_raw(path, b'{"user_id": "7590-VHVEG"}', content_type)

    assert response.status_code == 415
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.leeway+json"]
)
def test_other_forms_of_the_json_content_type_are_accepted(service: Service, content_type: str) -> None:
    """Parameters, upper case and a +json suffix are JSON, too."""
    assert service.post_raw("/predict", b'{"user_id": "7590-VHVEG"}', content_type).status_code == 200


# --- bodies that are no JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"{", b"user_id=7590-VHVEG", b'{"user_id": "\xff"}', b"[" * 100_000, b"{}{}", b"\xff\xfe", b"{'user_id': 1}"],
    ids=["cut off", "a form", "no UTF-8", "too deep", "two", "another encoding", "single quotes"],
)
def test_malformed_json_is_400(service: Service, body: bytes) -> None:
    """A body that is not JSON is 400, for every kind of error."""
    response = service.post_raw("/predict", body)

    assert (response.status_code, response.json()["type"]) == (400, "urn:leeway:problem:malformed-json")


def test_the_position_of_malformed_json_is_named(service: Service) -> None:
    """The detail has the position of the error."""
    detail = service.post_raw("/predict", b'{"user_id": }').json()["detail"]

    assert detail == "The body is not JSON: Expecting value at character 12."


def test_an_empty_body_is_missing(service: Service) -> None:
    """An empty body is 422."""
    assert service.post_raw("/predict", b"").json()["errors"] == [{"field": "body", "reason": "is missing"}]


# --- methods --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW"])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback"])
def test_other_methods_are_405(service: Service, method: str, path: str) -> None:
    """Any other method, known or not, is 405, and `Allow` names the supported ones."""
    response = service.client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, "OPTIONS, POST")


# --- recording required ---------------------------------------------------------------------------------------------


def test_what_cannot_be_recorded_is_a_problem_where_recording_is_required(
    serve: Serve, bundle: Bundle, example: Example
) -> None:
    """With recording required a full spool is 503, alone and in a batch."""
    service = serve(bundle, required=True, spool_limit_bytes=SMALLEST_SPOOL_BYTES)
    service.fill_spool()

    single = service.post("/predict", {"features": example})
    batch = service.post("/predict/batch", {"items": [{"features": example}]})

    assert (single.status_code, batch.status_code) == (503, 503)
    assert single.json()["type"] == batch.json()["type"] == "urn:leeway:problem:not-recorded"
