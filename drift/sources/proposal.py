"""Proposes a mapping from what a table is like."""

from __future__ import annotations

import re
from collections.abc import Mapping as Mapped
from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from drift.sources.errors import SourceError
from drift.sources.expressions import FEATURE_KINDS, TIMES, Column
from drift.sources.mapping import NO_FEATURES, ROLES, Mapping, Role
from drift.sources.opening import ColumnType, Source
from drift.sources.table import ACCEPTED
from leeway.schema import FEATURE_NAME

_LIKELY: Final[Mapped[Role, tuple[str, ...]]] = {
    "time": (
        "predictedat",
        "predictiontime",
        "scoredat",
        "requestedat",
        "receivedat",
        "createdat",
        "timestamp",
        "ts",
        "time",
        "date",
    ),
    "id": ("predictionid", "requestid", "eventid", "id", "uuid"),
    "subject": ("userid", "customerid", "customer", "clientid", "accountid", "subjectid", "subject", "memberid"),
    "order": ("sequence", "seq", "offset"),
    "score": ("score", "probability", "proba", "prob", "predictedprobability", "yscore"),
    "prediction": ("prediction", "predicted", "predictedclass", "predictedlabel", "ypred", "decision"),
    "label": ("label", "actual", "target", "ytrue", "outcome", "groundtruth"),
    "model_name": ("modelname", "model"),
    "model_version": ("modelversion", "version"),
    "trace_id": ("traceid", "trace"),
    "span_id": ("spanid", "span"),
    "latency": ("latencys", "latency", "latencyms", "durations", "duration", "durationms"),
}
"""How columns of each role are usually called, without underscores; the first that is there is taken."""


_SAMPLE: Final = 500
_FEWEST: Final = 50
"""Text that differs in each of so many rows identifies something."""


def propose(source: Source, table: str | None) -> tuple[Mapping, list[str]]:
    """A mapping for a table, and what was taken for what; without a table the one with most columns is taken.

    Raises:
        SourceError: there is no such table, or it has no column of times or no column that can be a feature.
    """
    name = table or _likely_table(source)
    types = source.columns(name)
    taken: dict[Role, str] = {}
    for role in ROLES:
        if (found := _likely_column(role, types, set(taken.values()))) is not None:
            taken[role] = found
    if "time" not in taken:
        dates = [column for column, found in types.items() if found.kind in TIMES]
        if not dates:
            raise SourceError("no column holds times, which a period needs", source=source.name, table=name)
        taken["time"] = dates[0]
    features, notes = _features(types, {*taken.values(), *NO_FEATURES}, _first_texts(source, name, types))
    if not features:
        raise SourceError("no column can be a feature", source=source.name, table=name)
    roles = [f"{role} is {column} ({types[column].name})" for role, column in taken.items()]
    if types[taken["time"]].kind != "time":
        notes.append("times have no zone: `time_zone` says which one they are in")
    absent = [role for role in ("id", "subject", "score", "model_version", "trace_id") if role not in taken]
    if absent:
        notes.append(f"nothing looks like {', '.join(absent)}: name a column under `columns` if there is one")
    return Mapping(table=name, columns=taken, features=features), [*roles, *notes]


def _likely_table(source: Source) -> str:
    found = source.tables()
    likely = [name for name in found if "predict" in name.lower() or "scor" in name.lower()] or found
    if len(likely) != 1 and not (exact := [name for name in likely if name.rpartition(".")[2] == "predictions"]):
        known = ", ".join(found) or "none"
        raise SourceError(f"choose one with --table; found: {known}", source=source.name)
    return likely[0] if len(likely) == 1 else exact[0]


def _likely_column(role: Role, types: Mapped[str, ColumnType], taken: set[str]) -> str | None:
    """The first column, in the order of the names that are usual, that has a suitable type."""
    accepted = ACCEPTED.get(role)
    suitable = [name for name, found in types.items() if accepted is None or found.kind in accepted]
    plain = {name.lower().replace("_", ""): name for name in reversed(suitable) if name not in taken}
    return next((plain[likely] for likely in _LIKELY[role] if likely in plain), None)


def _first_texts(source: Source, table: str, types: Mapped[str, ColumnType]) -> dict[str, list[str]]:
    """The first texts of each column of texts."""
    names = [name for name, found in types.items() if found.kind == "text"]
    columns: list[Column] = [sa.cast(sa.column(name), sa.Text) for name in names]
    if not columns:
        return {}
    with source.snapshot() as view:
        rows = view.read(sa.select(*columns).select_from(source.from_clause(table)).limit(_SAMPLE))
    return {name: [row[place] for row in rows if row[place]] for place, name in enumerate(names)}


def _features(
    types: Mapped[str, ColumnType], taken: set[str], texts: Mapped[str, Sequence[str]]
) -> tuple[dict[str, str], list[str]]:
    features: dict[str, str] = {}
    notes: list[str] = []
    for name, found in types.items():
        if name in taken:
            continue
        given = texts.get(name, ())
        if found.kind == "json" or (given and all(text.startswith("{") and text.endswith("}") for text in given)):
            notes.append(f"{name} is JSON: name its features under `features`, such as age: {name}.age")
        elif found.kind not in FEATURE_KINDS:
            notes.append(f"{name} is not a feature: its type is {found.name}")
        elif len(given) >= _FEWEST and len(set(given)) == len(given):
            notes.append(f"{name} is not a feature: it differs in each row")
        else:
            features[_feature_name(name)] = name
    return features, notes


def _feature_name(column: str) -> str:
    """The column's name, changed into a feature's name where necessary."""
    if FEATURE_NAME.fullmatch(column):
        return column
    plain = re.sub(r"[^A-Za-z0-9_.\- ]", "_", column)[:60]
    return plain if FEATURE_NAME.fullmatch(plain) else f"f_{plain}"
