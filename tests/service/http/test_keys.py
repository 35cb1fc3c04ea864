"""API keys in front of the routes: who may do what, on both paths, and what is counted, traced and said."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider

from leeway.data.population import Population
from leeway.keys import KeyRing, KeysError, Scope, add_key, revoke_key
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from service.http.keys import Gate, KeyRejected
from service.http.problems import MEDIA_TYPE
from service.telemetry.probe import KeyProbe
from tests.service.http.wired import KEPT, Wired, wired
from tests.service.observed import Observed, observed_service
from tests.service.raw_http import Wire, post
from tests.telemetry import attributes_of

LABEL = {"items": [{"prediction_id": "01a20733-8e39-71aa-9fec-4c4f5f21ed60", "label": 1}]}
ROUTES: list[tuple[str, str, Scope]] = [
    ("POST", "/predict", Scope.PREDICT),
    ("POST", "/predict/batch", Scope.PREDICT),
    ("POST", "/feedback", Scope.FEEDBACK),
    *(("GET", path, Scope.OPERATE) for path in ("/model", "/metrics", "/docs", "/openapi.json", "/faults")),
    ("GET", "/docs/start.js", Scope.OPERATE),
    ("HEAD", "/model", Scope.OPERATE),
    ("OPTIONS", "/faults", Scope.OPERATE),
    ("DELETE", "/faults", Scope.OPERATE),
]


@dataclass
class Locked:
    """A service that needs keys, over its fast path and without; one key for each scope."""

    wired: Wired
    keys: dict[Scope, str]
    file: Path

    @property
    def observed(self) -> Observed:
        """The service."""
        return self.wired.observed

    def ask(self, method: str, path: str, **headers: str) -> Any:  # noqa: ANN401 (the client's response, of a library without stable types)
        """A valid request."""
        example = {"features": self.observed.example}
        bodies = {"/predict": example, "/predict/batch": {"items": [example]}, "/feedback": LABEL}
        return self.observed.client.request(
            method, path, headers={"host": "localhost", **headers}, json=bodies.get(path)
        )

    def bearer(self, scope: Scope) -> dict[str, str]:
        """The header with the key for a scope."""
        return {"authorization": f"Bearer {self.keys[scope]}"}


@pytest.fixture(scope="module")
def locked(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """One service for all tests of this module."""
    folder = tmp_path_factory.mktemp("service")
    file = folder / "keys.json"
    keys = {scope: add_key(file, f"for-{scope}", [scope]) for scope in Scope}
    with (
        observed_service(bundle, folder, people, faults=True, keys_file=file) as observed,
        wired(observed) as served,
    ):
        started = Locked(served, keys, file)
        header = {**KEPT, b"x-api-key": keys[Scope.PREDICT].encode()}
        for _ in range(2):  # after the second answer, the threads that the first request needs have started
            served.ask(post("/predict", served.example, header), fast=True)
        yield started


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
def test_a_route_needs_its_scope(locked: Locked, method: str, path: str, scope: Scope) -> None:
    """Without a key and with a wrong one 401, with another scope 403, with the scope an answer."""
    others = [locked.ask(method, path, **locked.bearer(other)).status_code for other in Scope if other != scope]
    assert locked.ask(method, path).status_code == 401
    assert locked.ask(method, path, authorization=f"{locked.bearer(scope)['authorization']}x").status_code == 401
    assert others == [403, 403]
    assert locked.ask(method, path, **locked.bearer(scope)).status_code in {200, 202, 204}
    assert locked.ask(method, path, **{"x-api-key": locked.keys[scope]}).status_code in {200, 202, 204}


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_needs_no_key(locked: Locked, path: str) -> None:
    """Load balancers have none."""
    assert [locked.ask(method, path).status_code for method in ("GET", "HEAD")] == [200, 200]


@pytest.mark.parametrize("path", ["/nowhere", "/health", "/health/live/", "//health/live", "/health/live/../../model"])
def test_an_unknown_path_needs_any_key(locked: Locked, path: str) -> None:
    """Strangers do not learn which paths exist."""
    assert locked.ask("GET", path).status_code == 401
    assert locked.ask("GET", path, **locked.bearer(Scope.FEEDBACK)).status_code in {403, 404}


@pytest.mark.parametrize(
    ("headers", "status", "kind", "challenge"),
    [
        ({}, 401, "missing-key", 'Bearer realm="leeway"'),
        ({"x-api-key": "lw_000000000000_x"}, 401, "unknown-key", 'Bearer realm="leeway"'),
        ({"x-api-key": "{feedback}"}, 403, "missing-scope", None),
    ],
)
def test_a_rejection_is_a_problem_document(
    locked: Locked, headers: dict[str, str], status: int, kind: str, challenge: str | None
) -> None:
    """With a kind, a trace and, for 401, a challenge; no answer shows a key."""
    sent = {name: value.format(feedback=locked.keys[Scope.FEEDBACK]) for name, value in headers.items()}
    answer = locked.ask("POST", "/predict", **sent)
    document = answer.json()
    assert (answer.status_code, document["type"]) == (status, f"urn:leeway:problem:{kind}")
    assert (answer.headers["content-type"], answer.headers.get("www-authenticate")) == (MEDIA_TYPE, challenge)
    assert len(document["trace_id"]) == 32
    assert "lw_0" not in answer.text
    assert locked.keys[Scope.FEEDBACK] not in answer.text


def test_a_browser_is_asked_for_a_key(locked: Locked) -> None:
    """It may send it as HTTP Basic's password where it asks for a page, and nowhere else."""
    basic = {"authorization": f"Basic {b64encode(f'me:{locked.keys[Scope.OPERATE]}'.encode()).decode()}"}
    assert "Basic" in locked.ask("GET", "/docs").headers["www-authenticate"]
    assert [
        locked.ask(method, path, **basic).status_code for method, path in (("GET", "/docs"), ("DELETE", "/faults"))
    ] == [
        200,
        401,
    ]


def test_the_fast_path_takes_requests_with_a_key(locked: Locked) -> None:
    """Whether the connection is new or has sent the key before."""
    for name in (b"authorization", b"x-api-key"):
        value = locked.keys[Scope.PREDICT].encode()
        header = {**KEPT, name: b"Bearer " + value if name == b"authorization" else value}
        answer = locked.wired.ask(post("/predict", locked.wired.example, header), fast=True)
        assert (answer.status, answer.json["recorded"]) == (200, True)
    client = httpx2.Client(base_url=locked.wired.url)
    with client:
        locked.wired.taken.clear()
        for _ in range(3):
            sent = client.post("/predict", json=locked.wired.example, headers=locked.bearer(Scope.PREDICT))
            assert sent.status_code == 200
        assert len(locked.wired.taken) == 3
        keys = [locked.bearer(Scope.FEEDBACK), {}, locked.bearer(Scope.PREDICT)]
        statuses = [client.post("/predict", json=locked.wired.example, headers=key).status_code for key in keys]
        assert (statuses, len(locked.wired.taken)) == ([403, 401, 200], 4)


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_pipelined_requests_are_admitted_one_by_one(locked: Locked, path: str) -> None:
    """Each by its own key, whichever path answers it, and the answers come in order."""
    body = locked.wired.example if path == "/predict" else {"items": [locked.wired.example]}
    keys = {scope: f"Bearer {key}".encode() for scope, key in locked.keys.items()}
    order = [Scope.PREDICT, Scope.FEEDBACK, None, Scope.PREDICT, Scope.OPERATE, Scope.PREDICT]
    with Wire(locked.wired.url) as wire:
        wire.send(b"".join(post(path, body, KEPT | ({b"authorization": keys[each]} if each else {})) for each in order))
        assert [wire.read().status for _ in order] == [200, 403, 401, 200, 403, 200]


def test_requests_of_one_connection_keep_their_own_names(locked: Locked) -> None:
    """A connection that sends one key and then another leaves two names in traces and metrics."""
    other = add_key(locked.file, "second", [Scope.PREDICT])
    gate = locked.observed.service.fast_path.gate if locked.observed.service.fast_path else None
    assert gate is not None
    gate.ring._check_at_s = 0.0  # as if a second had passed
    telemetry = locked.observed.telemetry
    provider = telemetry.providers.tracer_provider
    assert isinstance(provider, TracerProvider)
    provider.force_flush()
    telemetry.forget_spans()
    keys = [locked.keys[Scope.PREDICT], other, locked.keys[Scope.PREDICT]]
    locked.wired.taken.clear()
    with Wire(locked.wired.url) as wire:
        for key in keys:
            wire.send(post("/predict", locked.wired.example, {**KEPT, b"x-api-key": key.encode()}))
            assert wire.read().status == 200
    assert len(locked.wired.taken) == 3
    revoke_key(locked.file, "second")
    provider.force_flush()
    named = [attributes_of(span)[names.API_KEY_NAME] for span in telemetry.server_spans()]
    assert named == ["for-predict", "second", "for-predict"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_a_wrong_method_is_explained_to_those_with_the_scope(locked: Locked, method: str) -> None:
    """Others are rejected as they would be with the right one."""
    asked = [locked.ask(method, "/predict", **headers) for headers in ({}, locked.bearer(Scope.PREDICT))]
    assert [each.status_code for each in asked] == [401, 405]
    assert asked[1].headers["allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback", "/model"])
def test_options_and_head_need_the_scope_of_their_path(locked: Locked, path: str) -> None:
    """They show which methods there are, and what GET would answer."""
    scope = {path: scope for _, path, scope in ROUTES}[path]
    for method in ("OPTIONS", "HEAD"):
        assert locked.ask(method, path).status_code == 401
        assert locked.ask(method, path, **locked.bearer(scope)).status_code in {200, 204, 405}


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_batch_and_a_single_request_need_the_same_scope(locked: Locked, path: str) -> None:
    """Below ASGI as well as with a content type that only the application reads."""
    body = locked.wired.example if path == "/predict" else {"items": [locked.wired.example]}
    for key, status in ((locked.keys[Scope.PREDICT], 200), (locked.keys[Scope.FEEDBACK], 403), ("lw_0_x", 401)):
        header = {**KEPT, b"x-api-key": key.encode()}
        assert locked.wired.ask(post(path, body, header), fast=status == 200).status == status
        other = {**header, b"content-type": b"application/json; charset=utf-8"}
        assert locked.wired.ask(post(path, body, other), fast=False).status == status


@pytest.mark.parametrize(
    ("header", "status"),
    [({}, 401), ({b"authorization": b"Bearer lw_000000000000_x"}, 401), ({b"x-api-key": b"\xff"}, 401)],
)
def test_the_fast_path_leaves_other_requests_to_the_application(
    locked: Locked, header: dict[bytes, bytes], status: int
) -> None:
    """It explains what is wrong."""
    answer = locked.wired.ask(post("/predict", locked.wired.example, {**KEPT, **header}), fast=False)
    assert (answer.status, answer.json["title"]) == (status, "Unauthorized")


def test_a_revoked_key_is_rejected_on_both_paths(locked: Locked) -> None:
    """Also on a connection that has sent it before."""
    key = add_key(locked.file, "leaver", [Scope.PREDICT])
    gate = locked.observed.service.fast_path.gate if locked.observed.service.fast_path else None
    assert gate is not None
    header = {"x-api-key": key}
    with httpx2.Client(base_url=locked.wired.url) as client:

        def ask() -> list[int]:
            gate.ring._check_at_s = 0.0  # as if a second had passed
            fast = client.post("/predict", json=locked.wired.example, headers=header)
            return [fast.status_code, locked.ask("POST", "/predict", **header).status_code]

        assert ask() == [200, 200]
        revoke_key(locked.file, "leaver")
        assert ask() == [401, 401]


def test_a_request_is_counted_once_by_key(locked: Locked) -> None:
    """By name and outcome, whichever path answers; also if the fast path leaves it to the application."""
    predict, feedback = locked.bearer(Scope.PREDICT), locked.bearer(Scope.FEEDBACK)
    encoded = {name.encode(): value.encode() for name, value in predict.items()}

    def act() -> None:
        locked.wired.ask(post("/predict", locked.wired.example, {**KEPT, **encoded}), fast=True)
        locked.wired.ask(post("/predict", {}, {**KEPT, **encoded}), fast=False)
        locked.ask("POST", "/predict", **predict)
        locked.ask("POST", "/predict", **feedback)
        locked.ask("POST", "/predict")
        locked.ask("POST", "/predict", **{"x-api-key": "nonsense"})

    found = locked.observed.changes(act).points(names.API_KEY_REQUESTS)
    counts = {
        (each.attributes.get(names.API_KEY_NAME), each.attributes[names.API_KEY_OUTCOME]): each.sum for each in found
    }
    assert counts == {
        ("for-predict", "admitted"): 3,
        ("for-feedback", "forbidden"): 1,
        (None, "missing"): 1,
        (None, "unknown"): 1,
    }


def test_a_rejection_is_measured_and_traced_with_its_route(locked: Locked) -> None:
    """The dashboards show on which routes clients are rejected."""
    locked.observed.telemetry.forget_spans()
    found = locked.observed.changes(lambda: locked.ask("POST", "/predict")).points(names.HTTP_REQUEST_DURATION)
    expected = {names.HTTP_ROUTE: "/predict", names.HTTP_STATUS: 401}.items()
    assert [each.count for each in found if expected <= dict(each.attributes).items()] == [1]
    spans = locked.observed.telemetry.server_spans()
    assert [expected <= attributes_of(span).items() for span in spans].count(True) == 1


def test_a_span_names_the_key_and_never_holds_it(locked: Locked) -> None:
    """On both paths."""
    telemetry = locked.observed.telemetry
    provider = telemetry.providers.tracer_provider
    assert isinstance(provider, TracerProvider)
    provider.force_flush()
    telemetry.forget_spans()
    encoded = {name.encode(): value.encode() for name, value in locked.bearer(Scope.PREDICT).items()}
    locked.wired.ask(post("/predict", locked.wired.example, {**KEPT, **encoded}), fast=True)
    locked.ask("POST", "/predict", **locked.bearer(Scope.PREDICT))
    provider.force_flush()
    named = [attributes_of(span)[names.API_KEY_NAME] for span in telemetry.server_spans()]
    assert named == ["for-predict", "for-predict"]
    assert locked.keys[Scope.PREDICT].split("_", 2)[2] not in telemetry.spans_json()


def test_openapi_names_both_ways_to_send_a_key(locked: Locked) -> None:
    """At every operation but health checks, with 401 and 403."""
    document = locked.ask("GET", "/openapi.json", **locked.bearer(Scope.OPERATE)).json()
    assert {each["type"] for each in document["components"]["securitySchemes"].values()} == {"http", "apiKey"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            needs_key = not path.startswith("/health/")
            assert ("security" in operation) == needs_key
            assert ({"401", "403"} <= operation["responses"].keys()) == needs_key


def test_without_a_file_nothing_needs_a_key(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """And OpenAPI has no scheme."""
    with observed_service(bundle, tmp_path, people) as observed:
        assert observed.predict().status_code == 200
        assert "securitySchemes" not in observed.client.get("/openapi.json").json()["components"]


def test_a_missing_file_is_an_error_at_start(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """The service does not start open."""
    started = observed_service(bundle, tmp_path, people, keys_file=tmp_path / "missing.json")
    with pytest.raises(KeysError, match=r"missing\.json"), started:
        pass


def test_rejections_are_logged_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With their number; no key is logged."""
    add_key(tmp_path / "keys.json", "a", [])
    now_s = [0.0]
    gate = Gate(KeyRing(tmp_path / "keys.json"), KeyProbe(), clock_s=lambda: now_s[0])
    with caplog.at_level(logging.WARNING, "service.http.keys"):
        for each in (0.0, 1.0, 59.0, 60.0):
            now_s[0] = each
            with pytest.raises(KeyRejected):
                gate.admit([(b"x-api-key", b"lw_guess")], Scope.PREDICT)
    assert [message.split(" requests")[0] for message in caplog.messages] == ["rejected 1", "rejected 3"]
    assert "lw_guess" not in caplog.text
