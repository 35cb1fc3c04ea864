"""The addresses and protocols under which the service answers."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx2
import pytest

from leeway.model.bundle import Bundle
from tests.service.processes import environment, eventually, running


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for loopback and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    path, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=leeway")
    names = ("-addext", "subjectAltName=IP:127.0.0.1,IP:::1")
    subprocess.run([*request, *names, "-keyout", str(key), "-out", str(path)], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + key.read_bytes())
    return path


def test_https_on_ipv4_and_ipv6(bundle: Bundle, tmp_path: Path, certificate: Path) -> None:
    """With `--certificate` and `--host ::`, both loopback addresses answer by HTTPS."""
    command = ("-m", "cli.main", "serve", "--host", "::", "--certificate", str(certificate))
    context = ssl.create_default_context(cafile=certificate)
    with running(tmp_path / "service", environment(bundle, tmp_path), command) as server:
        assert eventually(lambda: any("url" in line for line in server.log())), server.err.read_text()
        url = next(line["url"] for line in server.log() if "url" in line)
        assert url.startswith("https://[::]:")
        with httpx2.Client(verify=context, timeout=30) as client:
            for host in ("127.0.0.1", "[::1]"):
                assert client.get(f"{url.replace('[::]', host)}/health/live").json() == {"status": "ok"}
