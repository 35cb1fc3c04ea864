from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from backports import zstd

from service.http.bodies import MAX_BODY_BYTES
from tests.fakes import Service


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's head, as some clients send it."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZIP", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstd.compress),
    "identity": ("identity", bytes),
}
COMPRESSED = [name for name in ENCODERS if name != "identity"]


def post(service: Service, body: bytes | Iterator[bytes], encoding: str) -> Any:  # noqa: ANN401 (the client's response)
    """Send a compressed prediction."""
    return service.client.post(
        "/predict", content=body, headers={"content-type": "application/json", "content-encoding": encoding}
    )


@pytest.mark.parametrize("name", ENCODERS)
def test_a_compressed_body_is_read(service: Service, example: dict[str, Any], name: str) -> None:
    """As if it came uncompressed, also in pieces of one byte."""
    encoding, encode = ENCODERS[name]
    body = encode(json.dumps({"features": example}).encode())
    assert post(service, body, encoding).json()["recorded"] is True
    pieces = (body[place : place + 1] for place in range(len(body)))
    assert post(service, pieces, encoding).json()["recorded"] is True


@pytest.mark.parametrize("name", COMPRESSED)
def test_a_bomb_is_rejected_without_the_memory(service: Service, name: str) -> None:
    """A gigabyte of zeros in a body of a megabyte or less is 413 at the limit."""
    encoding, encode = ENCODERS[name]
    body = encode(bytes(64 * MAX_BODY_BYTES))
    assert len(body) < MAX_BODY_BYTES
    tracemalloc.start()
    response = post(service, body, encoding)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert response.status_code == 413
    assert peak_bytes < 16 * MAX_BODY_BYTES


def test_a_body_of_the_limit_is_read(service: Service) -> None:
    """The limit is that of the decompressed body."""
    body = b'{"user_id": "nobody"}'.ljust(MAX_BODY_BYTES)
    assert post(service, gzip.compress(body), "gzip").status_code != 413
    assert post(service, gzip.compress(body + b" "), "gzip").status_code == 413


def test_many_empty_streams_are_rejected(service: Service) -> None:
    """What is sent counts, too."""
    empty = gzip.compress(b"")
    pieces = (empty * 1_000 for _ in range(MAX_BODY_BYTES // len(empty) // 1_000 + 1))
    assert post(service, pieces, "gzip").status_code == 413


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("damage", ["cut", "none of it"])
def test_a_body_that_is_not_so_encoded_is_rejected(
    service: Service, example: dict[str, Any], name: str, damage: str
) -> None:
    """400 that names the encoding."""
    encoding, encode = ENCODERS[name]
    body = encode(json.dumps({"features": example}).encode())[:-9] if damage == "cut" else b"\xff{}"
    response = post(service, body, encoding)
    assert (response.status_code, response.json()["type"]) == (400, "urn:leeway:problem:malformed-encoding")
    assert encoding.lower().removeprefix("x-") in response.json()["detail"]


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "compress"])
def test_another_encoding_is_rejected(service: Service, encoding: str) -> None:
    """415 that lists the known ones."""
    response = post(service, b"{}", encoding)
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "gzip, deflate, zstd")
    assert "gzip, deflate, zstd" in response.json()["detail"]


def test_a_zstd_frame_with_a_large_window_is_rejected(service: Service) -> None:
    """Its decompression would take the window's memory."""
    options: dict[int, int] = {int(zstd.CompressionParameter.window_log): 27}
    compressor = zstd.ZstdCompressor(options=options)
    body = compressor.compress(b" " * 1_000) + compressor.flush()
    assert post(service, body, "zstd").json()["type"] == "urn:leeway:problem:malformed-encoding"
