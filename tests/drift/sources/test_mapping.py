from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from drift.sources.errors import SourceError
from drift.sources.mapping import CONTRACT_NAMES, ROLES, Mapping, mapping_text, read_mapping
from tests.drift.sources.tables import LABELS, MAPPING


def test_a_mapping_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every member survives YAML; notes are comments."""
    whole = replace(MAPPING, labels=LABELS, where="country = 'fr'", time_zone="Europe/Berlin")
    path = tmp_path / "source.yaml"
    path.write_text(mapping_text(whole, ["time is ts"]))
    assert path.read_text().startswith("# time is ts\ntable: scored\n")
    assert read_mapping(path) == whole


def test_the_mapping_of_the_current_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`source.yaml`; without one the contract's names apply."""
    monkeypatch.chdir(tmp_path)
    assert read_mapping(None) == Mapping()
    assert [Mapping().column(role) for role in ROLES] == [CONTRACT_NAMES[role] for role in ROLES]
    Path("source.yaml").write_text("table: scored\n")
    assert read_mapping(None).table == "scored"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("colums: {}", "unknown field `colums`"),
        ("columns: {tiem: ts}", r"Invalid enum value 'tiem'"),
        ("time_zone: Mars/Olympus", "no IANA time zone"),
        ("labels: {table: outcomes, join: {}}", "`join` names no column"),
        ("labels: {table: outcomes, join: {a: b}, delay_days: -1}", "`delay_days` must be 0 to 3660"),
        ("table: [", "is not YAML"),
        ("- scored", "Expected `object`"),
    ],
)
def test_an_invalid_mapping_is_named(tmp_path: Path, text: str, problem: str) -> None:
    """The message names the file and what is wrong."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SourceError, match=rf"mine.yaml.*{problem}"):
        read_mapping(path)


def test_a_missing_mapping_is_an_error(tmp_path: Path) -> None:
    """A path that was given must exist."""
    with pytest.raises(SourceError, match=r"the mapping cannot be read.*nowhere\.yaml"):
        read_mapping(tmp_path / "nowhere.yaml")
