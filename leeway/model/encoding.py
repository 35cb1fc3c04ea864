"""Encode rows of values as the input of a model, and find the unusual features of a row.

One convention for every model, ONNX or scikit-learn: one column per feature, in the schema's order. Numbers, integers
and flags are 32-bit floats (a flag is 0 or 1), NaN if missing; categories are text, "" if missing. Trees compare values
with thresholds from their training data, so both runtimes must round alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from leeway.schema import FeatureRow, FeatureSchema, Seen

FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
USUAL_QUANTILES: Final = (0.005, 0.995)
"""A number is usual between these quantiles of the reference."""


@dataclass(frozen=True)
class Encoded:
    """n rows: `numbers` is (n, k) float64, k features that are not categories; `texts` has one list per category."""

    numbers: NDArray[np.float64]
    texts: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.numbers)


class Encoder:
    """Encodes rows of one schema, and knows its seen values."""

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        self.number_names = tuple(each.name for each in schema if each.kind != "category")
        self.text_names = tuple(each.name for each in schema if each.kind == "category")
        self._number_places = [schema.names.index(name) for name in self.number_names]
        self._text_places = {name: schema.names.index(name) for name in self.text_names}
        numbers = [schema[name].seen for name in self.number_names]
        usual = [usual_range(seen) for seen in numbers]
        self._low = np.array([low for low, _ in usual], dtype=np.float64)
        self._high = np.array([high for _, high in usual], dtype=np.float64)
        self._may_be_missing = np.array([seen.missing_share > 0 for seen in numbers], dtype=bool)
        self._categories = {
            name: frozenset(schema[name].seen.categories) | ({""} if schema[name].seen.missing_share else set())
            for name in self.text_names
        }

    def encode(self, rows: Sequence[FeatureRow]) -> Encoded:
        """Encode valid rows.

        Raises:
            ValueError: a row has more or fewer values than the schema has features.
        """
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(self.schema)
        if len(columns) != len(self.schema):
            raise ValueError(f"a row has {len(columns)} values, but the schema has {len(self.schema)} features")
        numbers = np.array([columns[place] for place in self._number_places], dtype=np.float64)  # None becomes NaN
        texts = {name: [str(value or "") for value in columns[place]] for name, place in self._text_places.items()}
        return Encoded(numbers.reshape(len(self._number_places), len(rows)).T, texts)

    def unusual(self, encoded: Encoded) -> list[tuple[str, ...]]:
        """Name each row's unusual features, in the order of `number_names`, then `text_names`.

        A number is unusual outside the reference's 0.5–99.5 % range, a category if it was never seen, a missing value
        if the feature was never missing.
        """
        numbers = encoded.numbers
        found: list[tuple[str, ...]] = [()] * len(numbers)
        inside = (numbers >= self._low) & (numbers <= self._high)  # NaN is neither
        if not inside.all():
            inside |= np.isnan(numbers) & self._may_be_missing
            rows, places = np.nonzero(~inside)
            for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                found[row] = (*found[row], self.number_names[place])
        for name, known in self._categories.items():
            if known.issuperset(encoded.texts[name]):  # nearly always, and a fraction of the loop's time
                continue
            for row, text in enumerate(encoded.texts[name]):
                if text not in known:
                    found[row] = (*found[row], name)
        return found

    def onnx_feed(self, encoded: Encoded) -> dict[str, NDArray[Any]]:
        """The inputs of the ONNX model: one (n, 1) column per feature, float32 or text."""
        numbers = float32(encoded.numbers)
        feed: dict[str, NDArray[Any]] = {
            name: numbers[:, place : place + 1] for place, name in enumerate(self.number_names)
        }
        for name, texts in encoded.texts.items():
            feed[name] = np.array(texts, dtype=object).reshape(-1, 1)
        return feed


def usual_range(seen: Seen) -> tuple[float, float]:
    """Low and high; every number is usual if no data were seen, and none if the feature was always missing."""
    if seen.low is None or seen.high is None:
        return (np.inf, -np.inf) if seen.missing_share == 1 else (-np.inf, np.inf)
    return seen.low, seen.high


def float32(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to 32 bits; a number too large becomes the largest float, not infinity."""
    return numbers.clip(-FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
