"""The mapping file: how a table of predictions is called, and which of its columns means what.

docs/prediction-table.md is the contract. A table whose columns have the contract's names needs no mapping.
"""

from __future__ import annotations

from collections.abc import Mapping as Mapped
from datetime import tzinfo
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from drift.sources.errors import SourceError

MAPPING_FILE: Final = Path("source.yaml")
"""The mapping that is used without `--mapping`, if it is in the current folder."""

Role: TypeAlias = Literal[
    "time", "id", "subject", "order", "score", "prediction", "label", "model_name", "model_version", "trace_id",
    "span_id", "latency",
]  # fmt: skip
ROLES: Final[tuple[Role, ...]] = get_args(Role)

CONTRACT_NAMES: Final[Mapped[Role, str]] = {
    "time": "predicted_at",
    "id": "prediction_id",
    "subject": "user_id",
    "order": "sequence",
    "score": "score",
    "prediction": "prediction",
    "label": "label",
    "model_name": "model_name",
    "model_version": "model_version",
    "trace_id": "trace_id",
    "span_id": "span_id",
    "latency": "latency_s",
}
"""The name of each column where no mapping says otherwise."""

NO_FEATURES: Final = frozenset(
    {"as_of", "unusual_features", "lookup_duration_s", "inference_duration_s", "is_synthetic"}
)
"""Further columns of Leeway's own predictions."""


class ModelNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model's name and version, where no column has them."""

    name: str | None = None
    version: str | None = None


class LabelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of labels: `join` has the label table's column for each column of the predictions to be equal to.

    Labels arrive up to `delay_days` after their prediction.
    """

    table: str
    join: dict[str, str]
    label: str = "label"
    delay_days: float = 0.0

    def __post_init__(self) -> None:
        if not self.join:
            raise ValueError("`join` names no column")
        if not 0 <= self.delay_days <= 3_660:  # noqa: PLR2004 (ten years)
            raise ValueError("`delay_days` must be 0 to 3660")


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a mapping file says. All members are optional.

    `columns` names the column of each role, `features` the column (or `column.path` in a JSON column) of each feature.
    Without `features` every column that has no role and a suitable type is one. Times without a zone are in
    `time_zone`. `where` is an SQL condition that a row must meet.

    >>> mapping = msgspec.convert({"columns": {"time": "ts"}, "time_zone": "Europe/Berlin"}, Mapping)
    >>> mapping.column("time"), mapping.column("score")
    ('ts', 'score')
    """

    table: str | None = None
    columns: dict[Role, str] = {}
    features: dict[str, str] = {}
    time_zone: str = "UTC"
    where: str | None = None
    model: ModelNames = ModelNames()
    labels: LabelTable | None = None

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"`time_zone` {self.time_zone!r} is no IANA time zone, such as Europe/Berlin") from None

    def column(self, role: Role) -> str:
        """The name of a role's column, whether or not the table has it."""
        return self.columns.get(role, CONTRACT_NAMES[role])

    @property
    def zone(self) -> tzinfo:
        """The time zone of times without one."""
        return ZoneInfo(self.time_zone)


def read_mapping(path: Path | None) -> Mapping:
    """Read a mapping file; without a path the one in the current folder, or else none: the contract's names.

    Raises:
        SourceError: it cannot be read, or says what a mapping cannot say.
    """
    if path is None:
        if not MAPPING_FILE.exists():
            return Mapping()
        path = MAPPING_FILE
    import yaml  # noqa: PLC0415 (most runs have no mapping)

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(document or {}, Mapping)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"the mapping cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SourceError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except msgspec.ValidationError as error:
        raise SourceError(f"{path}: {error}; see docs/prediction-table.md") from error


def mapping_text(mapping: Mapping, notes: list[str]) -> str:
    """The text of a mapping file that begins with these notes as comments."""
    import yaml  # noqa: PLC0415 (as above)

    comments = "".join(f"# {note}\n" for note in notes)
    return comments + yaml.safe_dump(msgspec.to_builtins(mapping), sort_keys=False, allow_unicode=True)
