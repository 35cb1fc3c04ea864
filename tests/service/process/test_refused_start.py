from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leeway.model.bundle import Bundle
from tests.service.processes import TWO_WORKERS, ended, environment

Spoil = Callable[[Path, dict[str, str]], None]


def no_bundle(folder: Path, env: dict[str, str]) -> None:
    """There is no bundle where one is looked for."""
    env["LEEWAY_BUNDLE"] = str(folder / "nowhere")


def changed_byte(folder: Path, env: dict[str, str]) -> None:
    """One byte of the model is another."""
    path = copied_bundle(folder, env) / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unknown_format(folder: Path, env: dict[str, str]) -> None:
    """The bundle is of a later Leeway."""
    path = copied_bundle(folder, env) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def copied_bundle(folder: Path, env: dict[str, str]) -> Path:
    """A copy of the bundle, to be spoilt."""
    copy = folder / "bundle"
    shutil.copytree(env["LEEWAY_BUNDLE"], copy)
    env["LEEWAY_BUNDLE"] = str(copy)
    return copy


def setting(**changes: str) -> Spoil:
    """A setting that cannot be used."""
    return lambda _folder, env: env.update(changes)


def spool_is_a_folder(folder: Path, env: dict[str, str]) -> None:
    """The spool's path leads to a folder."""
    env["LEEWAY_SPOOL"] = str(folder)


def spans_file_is_a_folder(folder: Path, env: dict[str, str]) -> None:
    """The spans' path leads to a folder."""
    env["LEEWAY_SPANS_FILE"] = str(folder)


CANNOT_START: dict[str, tuple[Spoil, str]] = {
    "no bundle": (no_bundle, "leeway train"),
    "changed byte": (changed_byte, "model.onnx"),
    "unknown format": (unknown_format, "99"),
    "bad port": (setting(LEEWAY_PORT="eighty"), "LEEWAY_PORT='eighty'"),
    "bad recording": (setting(LEEWAY_RECORDING="perhaps"), "LEEWAY_RECORDING='perhaps'"),
    "bad database": (setting(LEEWAY_DATABASE_URL="nonsense"), "LEEWAY_DATABASE_URL"),
    "bad protocol": (
        setting(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_PROTOCOL="http/json"),
        "OTEL_EXPORTER_OTLP_PROTOCOL='http/json'",
    ),
    "spool is a folder": (spool_is_a_folder, "LEEWAY_SPOOL"),
    "spans file is a folder": (spans_file_is_a_folder, "LEEWAY_SPANS_FILE"),
}


@pytest.fixture(scope="module")
def failed_starts(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """How each of these starts ended; two at a time."""

    def start(case: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("start")
        env = environment(bundle, folder)
        CANNOT_START[case][0](folder, env)
        return ended(env)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CANNOT_START, pool.map(start, CANNOT_START), strict=True))


@pytest.mark.parametrize("case", CANNOT_START)
def test_a_start_that_cannot_be_says_why(failed_starts: dict[str, subprocess.CompletedProcess[str]], case: str) -> None:
    """The exit code is 2, and one plain line on standard error names what is wrong."""
    done, named = failed_starts[case], CANNOT_START[case][1]
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("leeway serve: ")
    assert named in line


def test_a_port_that_is_taken_says_so(bundle: Bundle, tmp_path: Path) -> None:
    """The line names the address and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = ended(environment(bundle, tmp_path, LEEWAY_PORT=str(port)))
    (line,) = done.stderr.splitlines()
    assert (done.returncode, f"127.0.0.1:{port}" in line, "LEEWAY_PORT" in line) == (2, True, True)


def test_workers_that_cannot_start_end_the_whole(bundle: Bundle, tmp_path: Path) -> None:
    """Two workers without a bundle are not tried again and again: the exit code is 2, and plain lines say why."""
    env = environment(bundle, tmp_path, LEEWAY_METRICS_ENDPOINT="off", LEEWAY_BUNDLE=str(tmp_path / "nowhere"))
    done = ended(env, TWO_WORKERS)
    assert done.returncode == 2
    assert {line[:14] for line in done.stderr.splitlines()} == {"leeway serve: "}


def test_several_workers_cannot_serve_metrics(bundle: Bundle, tmp_path: Path) -> None:
    """With `/metrics` on, more than one worker is refused with the reason and the way out."""
    done = ended(environment(bundle, tmp_path), TWO_WORKERS)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "/metrics" in line
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line


def test_several_workers_cannot_share_an_instance_id(bundle: Bundle, tmp_path: Path) -> None:
    """With one `service.instance.id` given for all, more than one worker is refused with the way out."""
    fixed = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=service", "LEEWAY_METRICS_ENDPOINT": "off"}
    done = ended(environment(bundle, tmp_path, **fixed), TWO_WORKERS)
    assert done.returncode == 2
    assert "OTEL_RESOURCE_ATTRIBUTES" in done.stderr
