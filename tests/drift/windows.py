"""Windows as the worker hands them to the detector: typed, one row a subject, with the model's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from drift.comparison.compare import SCORE_COLUMN
from leeway.data.population import Population
from leeway.data.tabular import typed_frame
from leeway.model.bundle import Bundle
from leeway.model.sklearn import encode_frame
from leeway.schema import CHURN_SCHEMA


def features_of(people: Population) -> pd.DataFrame:
    """The customers' features, typed."""
    return typed_frame(CHURN_SCHEMA, people.columns)


def scored(bundle: Bundle, frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows with what the model answers."""
    return frame.assign(**{SCORE_COLUMN: bundle.scorer.score(encode_frame(bundle.encoder, frame))})


def with_column(frame: pd.DataFrame, name: str, values: Any) -> pd.DataFrame:  # noqa: ANN401 (whatever a column takes)
    """The same rows with other values of one feature, of its own type."""
    return frame.assign(**{name: pd.Series(values, index=frame.index).astype(frame[name].dtype)})


def drawn(frame: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """So many rows, drawn with replacement."""
    return frame.iloc[rng.integers(0, len(frame), rows)]
