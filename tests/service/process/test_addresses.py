"""The addresses and protocols under which the service answers."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import httpx2
import pytest

from leeway.model.bundle import Bundle
from leeway.settings import SettingsError
from service.process.server import tls_files
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


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((None, "key.pem"), r"LEEWAY_KEY=.*key\.pem: set LEEWAY_CERTIFICATE as well, to serve HTTPS"),
        (("key.pem", "certificate.pem"), "give PEM files of a certificate and of its key, without a password"),
        (("missing.pem", None), "No such file or directory; give PEM files"),
        ((".", "key.pem"), "give PEM files"),
        (("empty.pem", "key.pem"), "give PEM files"),
    ],
    ids=["no certificate", "swapped", "missing", "folder", "empty"],
)
def test_unusable_tls_files_are_an_error(certificate: Path, files: tuple[str | None, str | None], message: str) -> None:
    """Named with their variable; a key alone does not start a server without TLS."""
    (certificate.parent / "empty.pem").touch()
    paths = [None if name is None else certificate.parent / name for name in files]
    with pytest.raises(SettingsError, match=message):
        tls_files(*paths)
    assert tls_files(None, None) is None
