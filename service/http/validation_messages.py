"""Why an input is rejected: pydantic's errors as messages that say what to do, and as the reasons that are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leeway.schema import whole
from service.telemetry.probe import Cause

MAX_LISTED = 100
MAX_DETAILED = 5
_MAX_NAME = 100
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is unknown: remove it",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be an integer",
    "int_parsing_size": "must fit into 64 bits",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "string_unicode": "must be valid Unicode",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "string_pattern_mismatch": "must not contain control characters",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "too_long": "must contain at most {max_length} items",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "uuid_type": "must be the prediction_id of a response",
    "uuid_parsing": "must be the prediction_id of a response",
    "value_error": "{error}",
}
_COUNTED = {
    "missing": "missing",
    "extra_forbidden": "unknown",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "int_parsing_size": "out_of_range",
    "finite_number": "out_of_range",
}
"""By pydantic's error type; all others are `wrong_type`. See `service.telemetry.probe.REJECTION_REASONS`."""

PydanticErrors = Sequence[Mapping[str, Any]]


def invalid_fields(errors: PydanticErrors, *, prefix: int, whole: str) -> list[dict[str, str]]:
    """Name each invalid field and the reason, at most `MAX_LISTED` of them, as text that JSON can carry.

    `prefix` is the number of parts of a location before the input itself; `whole` names the input if the
    error is not in one of its fields.
    """
    return [
        {"field": _unicode(".".join(map(str, error["loc"][prefix:]))[:_MAX_NAME]) or whole, "reason": _message(error)}
        for error in errors[:MAX_LISTED]
    ]


def summary(fields: Sequence[Mapping[str, str]], total: int) -> str:
    """One sentence for people on `total` errors, the first of which are `fields`."""
    detailed = "; ".join(f"{each['field']} {each['reason']}" for each in fields[:MAX_DETAILED])
    more = total - MAX_DETAILED
    return f"Invalid input: {detailed}; and {more} more." if more > 0 else f"Invalid input: {detailed}."


def causes(errors: PydanticErrors, *, prefix: int) -> list[Cause]:
    """Which features one item was rejected for, and why: each pair once, and all unknown names as one (None)."""
    pairs = ((_feature(error["loc"][prefix:]), _reason(error)) for error in errors)
    return list(dict.fromkeys((None if reason == "unknown" else feature, reason) for feature, reason in pairs))


def _feature(where: Sequence[Any]) -> str | None:
    return str(where[1]) if len(where) > 1 and where[0] == "features" else None


def _reason(error: Mapping[str, Any]) -> str:
    if _is_null(error):
        return "missing"
    return "out_of_range" if _is_huge(error) else _COUNTED.get(error["type"], "wrong_type")


def _is_null(error: Mapping[str, Any]) -> bool:
    return str(error["type"]).endswith("_type") and error.get("input") is None


def _is_huge(error: Mapping[str, Any]) -> bool:
    """Whether pydantic rejected an integer as not a number, because it is beyond the range of a float."""
    given = error.get("input")
    return error["type"] == "float_type" and isinstance(given, int) and not isinstance(given, bool)


def _message(error: Mapping[str, Any]) -> str:
    if _is_null(error):
        return "must not be null"
    if _is_huge(error):
        return _MESSAGES["finite_number"]
    message = _MESSAGES.get(error["type"])
    if message is None:
        return _unicode(str(error["msg"]))
    return message.format_map({name: whole(value) for name, value in error.get("ctx", {}).items()})


def _unicode(text: str) -> str:
    """The text with lone surrogates replaced: JSON strings may contain them, UTF-8 does not."""
    return text.encode("utf-8", "replace").decode()
