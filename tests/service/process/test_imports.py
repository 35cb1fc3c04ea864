from __future__ import annotations

import subprocess
import sys

import pytest

from leeway.model.bundle import Bundle
from tests.service.processes import ROOT, environment

COMPOSED = """
import sys
from contextlib import ExitStack
from leeway.settings import ServiceSettings
from service.__main__ import compose
with ExitStack() as stack:
    compose(ServiceSettings.read(), stack)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def imported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The packages that a service with an ONNX bundle and `/metrics` imports."""
    env = environment(bundle, tmp_path_factory.mktemp("imported"))
    done = subprocess.run(
        [sys.executable, "-c", COMPOSED], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["pandas", "sklearn", "scipy", "skops", "pyarrow", "evidently"])
def test_the_process_holds_nothing_that_trains(imported: set[str], package: str) -> None:
    """For an ONNX bundle neither what trains nor what compares is imported: it would double the memory."""
    assert "onnxruntime" in imported
    assert package not in imported


@pytest.mark.parametrize("package", ["grpc", "requests", "typer", "rich", "psycopg"])
def test_the_process_holds_nothing_that_it_does_not_use(imported: set[str], package: str) -> None:
    """Without a Collector, a terminal or PostgreSQL what speaks to them is not imported."""
    assert "prometheus_client" in imported
    assert package not in imported
