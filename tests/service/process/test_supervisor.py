from __future__ import annotations

import subprocess
import sys

import pytest

from tests.service.processes import ROOT

IMPORTED = "import sys, service.process.workers; print(*sys.modules)"


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules of a process that has imported the supervisor."""
    done = subprocess.run([sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["opentelemetry.sdk", "fastapi", "uvicorn", "numpy", "onnxruntime", "sqlalchemy"])
def test_who_watches_holds_nothing_of_what_answering_needs(imported: set[str], module: str) -> None:
    """The supervisor lives as long as the service: what only the answering processes use is not imported there."""
    assert "service.process.workers" in imported
    assert module not in imported
