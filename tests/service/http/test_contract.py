"""The running service against its own OpenAPI document: schemathesis generates requests and checks every response.

`make test-contract` runs these; `schemathesis.toml` holds what is excluded, and why. A finding of the random seed
becomes an example in the other tests.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leeway.model.bundle import Bundle
from tests.service.processes import environment, running

pytestmark = [pytest.mark.contract, pytest.mark.timeout(1_800)]
CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
EXAMPLES = 500
SEED = 20_261_128
FOUND = 1
"""The exit code of a run with findings; others mean that it could not run."""


@pytest.fixture(scope="module")
def url(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service in a process of its own that allows faults."""
    folder = tmp_path_factory.mktemp("service")
    with running(folder, environment(bundle, folder, LEEWAY_FAULTS="on")) as server:
        yield server.url


def schemathesis(url: str, folder: Path, *options: str, seed: int = SEED) -> subprocess.CompletedProcess[str]:
    """Run all checks with `EXAMPLES` requests per operation."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "run"]
    common = ["--continue-on-failure", "--max-examples", str(EXAMPLES), "--seed", str(seed), "--no-color"]
    return subprocess.run(
        [*command, f"{url}/openapi.json", *common, *options],
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_service_keeps_its_contract(url: str, tmp_path: Path) -> None:
    """With a fixed seed no response contradicts the OpenAPI document."""
    done = schemathesis(url, tmp_path, "--exclude-tag", "faults")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_fault_routes_keep_their_contract(url: str, tmp_path: Path) -> None:
    """The same for `/faults`, on its own: an injected fault would break the responses of the other routes."""
    done = schemathesis(url, tmp_path, "--include-tag", "faults")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_random_seed_reports_what_it_finds(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New requests in each run: their findings are reported and do not fail."""
    seed = random.randrange(2**31)  # noqa: S311 (not a secret)
    done = schemathesis(url, tmp_path, "--exclude-tag", "faults", seed=seed)
    with capsys.disabled():
        sys.stdout.write(f"\nschemathesis with the random seed {seed}: ")
        sys.stdout.write(done.stdout if done.returncode == FOUND else "no findings\n")
    assert done.returncode in {0, FOUND}, done.stdout + done.stderr
