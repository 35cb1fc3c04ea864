"""Rules that no linter has: who reads the environment, how long modules are, how tests are written."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("leeway", "service", "drift", "cli", "observability", "docs")
SOURCES: Final = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS: Final = sorted((ROOT / "tests").rglob("test_*.py"))
MAX_LINES: Final = 400
READ_THE_ENVIRONMENT: Final = {
    "leeway/telemetry/environment.py": "reads OTEL_*",
    "leeway/telemetry/variables.py": "removes invalid OTEL_* variables before they are read",
    "service/telemetry/http_instrumentation.py": "sets the stable HTTP conventions before they are read",
    "drift/comparison/evidently.py": "tells Evidently not to phone home",
    "leeway/model/onnx.py": "tells ONNX Runtime the same",
    "cli/demo/workspace.py": "gives the demo's processes an environment of their own",
    "docs/board_pictures.py": "gives Docker Compose the options of the traffic",
    "drift/flows/monthly.py": "runs in Prefect's environment, which lacks what Leeway's settings need",
}
BANNED: Final = ROOT / "tests" / "banned_idioms.txt"


def name_of(path: Path) -> str:
    """The path from the project's root."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of the tree."""
    return tuple(ast.walk(tree(path)))


@cache
def reads_environment(path: Path) -> bool:
    """Whether the module names `os.environ`, `getenv` or the like."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and names & {each.name for each in node.names})
        for node in nodes(path)
    )


def texts(path: Path) -> Iterator[str]:
    """Every string in a module except docstrings."""
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


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """A module's test functions."""
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def asserts(test: ast.AST) -> bool:
    """Whether a test asserts, or expects an error or a warning, itself or through a function named for that."""
    for node in ast.walk(test):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name.startswith(("assert", "raises", "warns", "error_of", "rejected")):
                return True
    return False


def text_files() -> Iterator[Path]:
    """Every tracked file that people read, except dependencies' locks, the licence and stored data."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in (ROOT / name for name in listed.split("\0") if name):
        is_text = path.suffix in {".py", ".md", ".toml", ".yaml", ".j2", ".css", ".js", ".html", ".json"}
        if (is_text or path.name in {"Makefile", "Dockerfile", "run"}) and path.is_file():
            yield path


def test_the_rules_see_the_code() -> None:
    """The scans below find the packages and the tests."""
    assert {name_of(path).split("/")[0] for path in SOURCES} == set(PACKAGES)
    assert len(TESTS) > 10


def test_few_modules_read_the_environment() -> None:
    """Each process reads its settings once: besides them, only modules with a reason read the environment.

    The OTLP variables are read in one module, and no module but the settings names a LEEWAY_ variable, except those
    that set them for the processes that they start, and the flow, which has an environment of its own.
    """
    readers = {name_of(path): path for path in SOURCES if reads_environment(path)}
    assert readers.keys() <= READ_THE_ENVIRONMENT.keys()
    named = {name: list(texts(path)) for name, path in readers.items()}
    ours = {name for name, found in named.items() if any(re.fullmatch(r"LEEWAY_\w+", text) for text in found)}
    assert ours <= {"cli/demo/workspace.py", "docs/board_pictures.py", "drift/flows/monthly.py"}
    otlp = {name for name, found in named.items() if any(text.startswith("OTEL_EXPORTER_OTLP") for text in found)}
    assert otlp == {"leeway/telemetry/environment.py"}


def test_modules_are_as_long_as_their_subject() -> None:
    """A module can be read in one go."""
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_modules_say_what_they_are() -> None:
    """Each module begins with a docstring, and none is called utils, common or helpers."""
    assert [name_of(path) for path in SOURCES if not ast.get_docstring(tree(path))] == []
    assert {path.stem for path in SOURCES}.isdisjoint({"utils", "util", "common", "helpers", "misc"})


def test_tests_state_their_promise() -> None:
    """Each test has a docstring whose first paragraph is one line, and asserts something."""
    wrong = []
    for path in TESTS:
        for test in functions_of(path):
            promise = (ast.get_docstring(test) or "").split("\n\n")[0].splitlines()
            if len(promise) != 1 or not asserts(test):
                wrong.append(f"{name_of(path)}:{test.lineno} {test.name}")
    assert wrong == []


def test_no_path_of_one_machine_is_written_down() -> None:
    """What works here works in any clone."""
    machines = ("/home/", "/Users/", "/root/", f"{ROOT.parent}/")
    paths = [path for path in (*SOURCES, *TESTS) if path != Path(__file__)]
    assert [name_of(path) for path in paths if any(text.startswith(machines) for text in texts(path))] == []


def test_nothing_is_unpickled() -> None:
    """No module imports a library that unpickles."""
    unpickles = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
    found = [
        name_of(path)
        for path in SOURCES
        for node in nodes(path)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in unpickles)
        or (isinstance(node, ast.Import) and unpickles & {each.name.split(".")[0] for each in node.names})
    ]
    assert found == []


def test_plain_english() -> None:
    """No text in the repository uses an idiom of `banned_idioms.txt`; the list says what to write instead."""
    rules = [line for line in BANNED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    banned = re.compile(rf"\b(?:{'|'.join(f'(?:{rule})' for rule in rules)})")  # the common \b first: six times as fast
    found = [
        f"{name_of(path)}:{number}: {match[0]}"
        for path in text_files()
        if path != BANNED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := banned.search(line))
    ]
    assert rules
    assert found == []
