"""Errors as RFC 9457 problem documents, each with the trace id of its request. Rejected items are counted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from leeway.store.record import SYNTHETIC_HEADER
from service.core import predictor as domain
from service.core.feedback import LabelStoreDown
from service.core.rejections import RejectionTally
from service.http import validation_messages as messages
from service.http.methods import methods_of
from service.telemetry.probe import Cause, PredictionProbe, TraceRef

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Malformed request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    413: "Body too large",
    415: "Unsupported content type",
    422: "Invalid input",
    431: "Head too large",
    500: "Internal error",
    503: "Unavailable",
}
_HTTP_ERRORS = {
    400: (
        "malformed-json",
        "The body is not JSON encoded as UTF-8, is nested too deeply, or contains a number with thousands of digits.",
    ),
    403: ("foreign-host", ""),
    404: ("not-found", "This path does not exist: see /docs for the available paths."),
    405: ("method-not-allowed", "This path does not support this method: see /docs for the supported methods."),
    408: ("request-timeout", "The request did not arrive in time: send it faster, or in smaller parts."),
    415: ("content-encoding", "This Content-Encoding is not supported: send gzip, deflate, zstd, or no encoding."),
    413: ("body-too-large", "The body is larger than the limit of 1 MiB: send fewer items at once."),
    431: ("head-too-large", "The request line and the headers are larger than 64 KiB: send fewer or shorter headers."),
    503: ("overloaded", "Too many requests are in flight: try again after the seconds in Retry-After."),
}
"""A kind for programs, and a detail for people unless the error brings its own."""
_UNEXPECTED = "An unexpected error occurred: try again. The service's log and this trace have the details."
_SYNTHETIC = TypeAdapter(bool)


class EncodingError(HTTPException):
    """A body is not what its Content-Encoding says."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


@dataclass(frozen=True)
class Problem:
    """What went wrong: `status`, a `kind` for programs, a `detail` for people, and the invalid fields."""

    status: int
    kind: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()


_DOMAIN: dict[type[Exception], tuple[int, str]] = {
    domain.UnknownCustomer: (404, "unknown-customer"),
    domain.NoSnapshots: (404, "no-snapshots"),
    domain.SnapshotStoreDown: (503, "snapshot-store-down"),
    domain.NoScore: (500, "no-score"),
    domain.NotRecorded: (503, "not-recorded"),
    LabelStoreDown: (503, "label-store-down"),
}


def of_domain(error: Exception) -> Problem:
    """The problem for a use case's error."""
    status, kind = _DOMAIN[type(error)]
    return Problem(status, kind, str(error))


def of_status(status: int, detail: str = "") -> Problem:
    """The problem for an HTTP error; `detail` is used where the status has no text here."""
    kind, known = _HTTP_ERRORS.get(status, ("http", ""))
    return Problem(status, kind, known or detail)


def document(problem: Problem, trace: TraceRef | None) -> dict[str, Any]:
    """The members of the problem document."""
    members: dict[str, Any] = {
        "type": f"urn:leeway:problem:{problem.kind}",
        "title": TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        members["errors"] = list(problem.errors)
    return members | {"trace_id": trace and trace.trace_id}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of these errors."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


class Problems:
    """Answers errors with problem documents; reports rejected items to the probe and to the tally.

    Synthetic requests are reported to the probe only: the tally is what the verdict on data quality reads.
    """

    def __init__(self, probe: PredictionProbe, tally: RejectionTally) -> None:
        self._probe = probe
        self._tally = tally

    def document(self, problem: Problem) -> dict[str, Any]:
        """The members of the problem document, in the current trace."""
        return document(problem, self._probe.trace_ref())

    def response(self, problem: Problem) -> Response:
        """The response that carries `problem`."""
        return Response(msgspec.json.encode(self.document(problem)), problem.status, media_type=MEDIA_TYPE)

    def rejected_item(self, errors: Sequence[Mapping[str, Any]], *, is_synthetic: bool) -> dict[str, Any]:
        """Count one item of a batch as rejected for pydantic's `errors`, and return its problem document."""
        self._reject(messages.causes(errors, prefix=0), is_synthetic=is_synthetic)
        return self.document(_of_input(errors, prefix=0, whole="item"))

    def install(self, app: FastAPI) -> None:
        """Answer every error of `app` with a problem document."""

        async def on_domain_error(_request: Request, error: Exception) -> Response:
            return self.response(of_domain(error))

        async def on_validation_error(request: Request, error: Exception) -> Response:
            assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this type below)
            return self.response(self._of_request(request, error))

        async def on_http_error(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)  # noqa: S101 (as above)
            disconnected = isinstance(error.__cause__, ClientDisconnect)  # while sending the body: no item was rejected
            if error.status_code == 400 and not disconnected:  # noqa: PLR2004 (not JSON, see `_HTTP_ERRORS`)
                self._reject_request(request, [(None, "malformed")])
            response = self.response(_of_http_error(error))
            response.headers.update(error.headers or {})
            if error.status_code == 405:  # noqa: PLR2004 (Starlette's `Allow` names the methods of one route only)
                response.headers["allow"] = ", ".join(sorted(methods_of(app, request.scope)))
            return response

        async def on_unexpected(_request: Request, _error: Exception) -> Response:
            response = self.response(Problem(500, "internal", _UNEXPECTED))
            # Starlette raises the error again, and Uvicorn then closes the connection: a client that was not told would
            # send its next request there, and get no answer.
            response.headers["connection"] = "close"
            return response

        for kind in _DOMAIN:
            app.add_exception_handler(kind, on_domain_error)
        app.add_exception_handler(RequestValidationError, on_validation_error)
        app.add_exception_handler(HTTPException, on_http_error)
        app.add_exception_handler(Exception, on_unexpected)

    def _of_request(self, request: Request, error: RequestValidationError) -> Problem:
        if not _is_json(request.headers.get("content-type", "")):
            return Problem(415, "content-type", "Send JSON, with the header content-type: application/json.")
        errors = error.errors()
        if errors[0]["type"] == "json_invalid":
            self._reject_request(request, [(None, "malformed")])
            reason, place = errors[0]["ctx"]["error"], errors[0]["loc"][-1]
            return Problem(400, "malformed-json", f"The body is not JSON: {reason} at character {place}.")
        self._reject_request(request, messages.causes(errors, prefix=1))
        return _of_input(errors, prefix=1, whole="body")

    def _reject_request(self, request: Request, causes: Sequence[Cause]) -> None:
        """Count a request as rejected, where it asked for predictions."""
        if request.scope["path"].startswith("/predict"):
            self._reject(causes, is_synthetic=_is_synthetic(request))

    def _reject(self, causes: Sequence[Cause], *, is_synthetic: bool) -> None:
        self._probe.rejected(causes, is_synthetic=is_synthetic)
        if not is_synthetic:
            self._tally.add(causes)


def _of_http_error(error: HTTPException) -> Problem:
    if isinstance(error, EncodingError):
        return Problem(400, "malformed-encoding", str(error.detail))
    return of_status(error.status_code, str(error.detail))


def _of_input(errors: Sequence[Mapping[str, Any]], *, prefix: int, whole: str) -> Problem:
    fields = messages.invalid_fields(errors, prefix=prefix, whole=whole)
    return Problem(422, "invalid-input", messages.summary(fields, len(errors)), fields)


def _is_synthetic(request: Request) -> bool:
    """Whether the header marks the request as synthetic, by the routes' own rule; an invalid value does not."""
    try:
        return _SYNTHETIC.validate_python(request.headers.get(SYNTHETIC_HEADER, "false"))
    except ValidationError:
        return False


def _is_json(content_type: str) -> bool:
    """Whether FastAPI reads a body of this type as JSON, by its own rule."""
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
