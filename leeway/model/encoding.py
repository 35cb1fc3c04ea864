"""From rows of values to what a model takes, and which of a row's features are unusual.

One convention for every model, ONNX or scikit-learn: a column per feature, in the schema's order. Numbers, integers and
flags are 32-bit floats (a flag is 0 or 1) with NaN for missing; categories are text with "" for missing. Trees compare
with thresholds taken from their training data, so a model must see the same rounding wherever it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leeway.schema import FeatureRow, FeatureSchema, Seen

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Encoded:
    """n rows: `numbers` is (n, k) float64 over the k features that are no category, `texts` one list per category."""

    numbers: NDArray[np.float64]
    texts: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.numbers)


class Encoder:
    """Encodes rows of one schema and knows what its reference held."""

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
        """Encode rows that the schema has found valid.

        Raises:
            ValueError: a row has not as many values as the schema has features.
        """
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(self.schema)
        if len(columns) != len(self.schema):
            raise ValueError(f"a row holds {len(columns)} values, the schema has {len(self.schema)} features")
        numbers = np.array([columns[place] for place in self._number_places], dtype=np.float64)  # None becomes NaN
        texts = {name: [str(value or "") for value in columns[place]] for name, place in self._text_places.items()}
        return Encoded(numbers.reshape(len(self._number_places), len(rows)).T, texts)

    def unusual(self, encoded: Encoded) -> list[tuple[str, ...]]:
        """Name each row's unusual features, in the order of `number_names`, then `text_names`.

        Unusual is a number outside the reference's 0.5–99.5 % range, a category that was never seen, and a value that
        is missing where none ever was.
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
            for row, text in enumerate(encoded.texts[name]):
                if text not in known:
                    found[row] = (*found[row], name)
        return found

    def onnx_feed(self, encoded: Encoded) -> dict[str, NDArray[Any]]:
        """The inputs of the ONNX model: one (n, 1) column a feature, float32 or text."""
        numbers = float32(encoded.numbers)
        feed: dict[str, NDArray[Any]] = {
            name: numbers[:, place : place + 1] for place, name in enumerate(self.number_names)
        }
        for name, texts in encoded.texts.items():
            feed[name] = np.array(texts, dtype=object).reshape(-1, 1)
        return feed


def usual_range(seen: Seen) -> tuple[float, float]:
    """Low and high; everything where no range is known, nothing where no value was ever seen."""
    if seen.low is None or seen.high is None:
        return (np.inf, -np.inf) if seen.missing_share == 1 else (-np.inf, np.inf)
    return seen.low, seen.high


def float32(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to 32 bits; what is too large becomes the largest, not infinity."""
    return numbers.clip(-FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
