"""Errors as RFC 9457 problem documents, each with the trace id of its request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from leeway.store.record import SYNTHETIC_HEADER
from service.core import predictor as domain
from service.http import validation_messages as refusals
from service.telemetry.probe import PredictionProbe

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Malformed request",
    403: "Refused",
    404: "Not found",
    405: "Method not allowed",
    413: "Body too large",
    415: "Unsupported content type",
    422: "Invalid input",
    500: "Internal error",
    503: "Unavailable",
}
_KINDS = {
    400: "malformed-json",
    403: "foreign-host",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
}
_DETAILS = {
    400: "The body is not JSON in UTF-8, is nested too deeply, or holds a number of thousands of digits.",
    404: "There is nothing at this address: /docs lists what there is.",
    405: "This address does not take this method: /docs lists what there is.",
    413: "The body is larger than this service takes, 1 MiB: send fewer items at once.",
}
_MARK = TypeAdapter(bool)
_SCHEMA = {
    "title": "Problem",
    "description": "A problem document (RFC 9457)",
    "type": "object",
    "required": ["type", "title", "status", "detail", "trace_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "The kind of problem, for programs"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong and what to do, for people"},
        "errors": {
            "type": "array",
            "description": "The fields at fault",
            "items": {
                "type": "object",
                "required": ["field", "reason"],
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
        "trace_id": {"type": ["string", "null"], "description": "32 hex digits; null where telemetry is off"},
    },
}


class LabelStoreDown(Exception):
    """Labels cannot be stored now."""


@dataclass(frozen=True)
class Problem:
    """What went wrong: `status`, a `kind` for programs, a `detail` for people, and the fields at fault."""

    status: int
    kind: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()


_DOMAIN: dict[type[Exception], tuple[int, str]] = {
    domain.UnknownCustomer: (404, "unknown-customer"),
    domain.NoSnapshots: (404, "no-snapshots"),
    domain.SnapshotStoreDown: (503, "snapshot-store-down"),
    domain.NotRecorded: (503, "not-recorded"),
    LabelStoreDown: (503, "label-store-down"),
}


def of_domain(error: Exception) -> Problem:
    """The problem that a use case's error is."""
    status, kind = _DOMAIN[type(error)]
    return Problem(status, kind, str(error))


def of_status(status: int, detail: str = "") -> Problem:
    """The problem that an HTTP error is; `detail` where we have no words of our own."""
    return Problem(status, _KINDS.get(status, "http"), _DETAILS.get(status, detail))


def of_item(errors: Sequence[Mapping[str, Any]], probe: PredictionProbe, *, is_synthetic: bool = False) -> Problem:
    """The problem that pydantic's errors about one item of a batch are; counted."""
    probe.refused(refusals.causes(errors, prefix=0), is_synthetic=is_synthetic)
    return _of_input(errors, prefix=0, whole="item")


def document(problem: Problem, probe: PredictionProbe) -> dict[str, Any]:
    """The members of the problem document."""
    trace = probe.trace_ref()
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
    """What OpenAPI says of these errors."""
    return {
        status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": _SCHEMA}}} for status in statuses
    }


def respond(problem: Problem, probe: PredictionProbe) -> Response:
    """The response that carries `problem`."""
    body = json.dumps(document(problem, probe), ensure_ascii=False).encode("utf-8", "replace")
    return Response(body, problem.status, media_type=MEDIA_TYPE)


def install(app: FastAPI, probe: PredictionProbe) -> None:
    """Answer every error of `app` with a problem document."""

    async def on_domain_error(_request: Request, error: Exception) -> Response:
        return respond(of_domain(error), probe)

    async def on_validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 (registered for this type below)
        return respond(_of_request(request, error, probe), probe)

    async def on_http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 (as above)
        gone = isinstance(error.__cause__, ClientDisconnect)  # in mid-body: nobody reads this, and no item was refused
        if error.status_code == 400 and _predicts(request) and not gone:  # noqa: PLR2004 (no JSON, see `_DETAILS`)
            probe.refused([(None, "malformed")], is_synthetic=_is_check(request))
        response = respond(of_status(error.status_code, str(error.detail)), probe)
        response.headers.update(error.headers or {})
        return response

    async def on_unexpected(_request: Request, _error: Exception) -> Response:
        detail = "The service met an error that it did not expect: try again. Its log and this trace say more."
        return respond(Problem(500, "internal", detail), probe)

    for kind in _DOMAIN:
        app.add_exception_handler(kind, on_domain_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_unexpected)


def _of_request(request: Request, error: RequestValidationError, probe: PredictionProbe) -> Problem:
    if not _is_json(request.headers.get("content-type", "")):
        return Problem(415, "content-type", "Send JSON, with the header content-type: application/json.")
    errors = error.errors()
    if errors[0]["type"] == "json_invalid":
        if _predicts(request):
            probe.refused([(None, "malformed")], is_synthetic=_is_check(request))
        reason, place = errors[0]["ctx"]["error"], errors[0]["loc"][-1]
        return Problem(400, "malformed-json", f"The body is not JSON: {reason} at character {place}.")
    if _predicts(request):
        probe.refused(refusals.causes(errors, prefix=1), is_synthetic=_is_check(request))
    return _of_input(errors, prefix=1, whole="body")


def _of_input(errors: Sequence[Mapping[str, Any]], *, prefix: int, whole: str) -> Problem:
    fields = refusals.refused_fields(errors, prefix=prefix, whole=whole)
    return Problem(422, "invalid-input", refusals.summary(fields, len(errors)), fields)


def _predicts(request: Request) -> bool:
    """Whether predictions were asked for: only they count as refused, feedback does not."""
    return bool(request.scope["path"].startswith("/predict"))


def _is_check(request: Request) -> bool:
    """Whether it bears the mark of a check, read as its route reads it; a mark that is none marks nothing."""
    try:
        return _MARK.validate_python(request.headers.get(SYNTHETIC_HEADER, "false"))
    except ValidationError:
        return False


def _is_json(content_type: str) -> bool:
    """Whether FastAPI reads a body of this type as JSON, by its own rule."""
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
