"""What no linter says: who reads the environment, how long modules are, and that tests state their promises."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("leeway", "service", "drift", "cli", "observability", "docs")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MAX_LINES = 270  # "about 250": a few lines over are no reason to tear a module apart
TOUCH_THE_ENVIRONMENT = {
    "leeway/telemetry/environment.py": "reads OTEL_*",
    "service/telemetry/http_instrumentation.py": "sets the stable HTTP conventions before they are read",
    "drift/comparison/detector.py": "tells Evidently not to phone home",
    "leeway/model/bundle.py": "tells ONNX Runtime the same",
    "cli/demo/workshop.py": "hands the demo's processes an environment of their own",
}


def name_of(path: Path) -> str:
    """A path as one would say it, from the project's root."""
    return path.relative_to(ROOT).as_posix()


def nodes(path: Path) -> Iterator[ast.AST]:
    """Every node of a module."""
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def touches_environment(path: Path) -> bool:
    """Whether the module names `os.environ` or `getenv`, by whatever way."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and names & {each.name for each in node.names})
        for node in nodes(path)
    )


def texts(path: Path) -> Iterator[str]:
    """Every string in a module that is no docstring."""
    docstrings = {
        id(node.body[0].value)
        for node in nodes(path)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_there_is_something_to_look_at() -> None:
    """The scans below see the packages and the tests."""
    assert {name_of(path).split("/")[0] for path in SOURCES} == set(PACKAGES)
    assert len(TESTS) > 10


def test_few_modules_touch_the_environment() -> None:
    """Each process reads its settings once: beyond the settings, only modules with a reason touch the environment."""
    found = {name_of(path) for path in SOURCES if touches_environment(path)}
    assert found <= TOUCH_THE_ENVIRONMENT.keys()


def test_settings_alone_read_our_variables() -> None:
    """No module that touches the environment names a LEEWAY_ variable, but the demo, which sets its service's."""
    readers = [ROOT / name for name in TOUCH_THE_ENVIRONMENT if name != "cli/demo/workshop.py"]
    named = {
        name_of(path): text
        for path in readers
        if path.exists() and touches_environment(path)
        for text in texts(path)
        if text.startswith("LEEWAY_") and text.replace("_", "").isalnum()
    }
    assert named == {}


def test_one_module_alone_reads_the_otlp_variables() -> None:
    """Endpoint, protocol and timeout of OTLP are read in one place."""
    found = {
        name_of(path)
        for path in SOURCES
        if touches_environment(path)
        for text in texts(path)
        if text.startswith("OTEL_EXPORTER_OTLP")
    }
    assert found == {"leeway/telemetry/environment.py"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_stay_short(path: Path) -> None:
    """A module that can be read in one go: about 250 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_say_what_they_are(path: Path) -> None:
    """Each module begins with a docstring, and none is called utils, common or helpers."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_state_their_promise(path: Path) -> None:
    """Each test has a docstring that states its promise in one line, and asserts something."""
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            docstring = ast.get_docstring(node) or ""
            assert docstring, f"{node.name} states no promise"
            assert len(docstring.split("\n\n")[0].splitlines()) == 1, f"{node.name}: the promise is one line"
            assert asserts(node), f"{node.name} asserts nothing"


def asserts(test: ast.AST) -> bool:
    """Whether a test asserts, or expects an error or a warning, itself or by a function called for that."""
    for node in ast.walk(test):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name.startswith(("assert", "raises", "warns", "error_of", "refused")):
                return True
    return False


@pytest.mark.parametrize("path", [*SOURCES, *(path for path in TESTS if path != Path(__file__))], ids=name_of)
def test_no_machines_own_paths(path: Path) -> None:
    """No path of one machine is written down: what works here works in any clone."""
    assert not [text for text in texts(path) if text.startswith(("/home/", "/Users/", "/root/", f"{ROOT.parent}/"))]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_nothing_is_unpickled(path: Path) -> None:
    """No module imports what unpickles."""
    modules = {
        each.name.split(".")[0]
        for node in nodes(path)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for each in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    assert not modules & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
