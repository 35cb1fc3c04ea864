"""Which predictions of a window are the most unusual: a drift run links to their traces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leeway.model.encoding import Encoded, Encoder

MOST_LINKS = 20
DEEPEST = 10.0
"""A feature counts for no more than this in the order, or one absurd value would speak for a whole window."""


def most_unusual(encoder: Encoder, encoded: Encoded, limit: int = MOST_LINKS) -> list[int]:
    """The places of up to `limit` unusual rows, the most unusual first.

    A row with more unusual features (see `Encoder.unusual`) goes before one with fewer. Among equals the one deeper in
    the tails goes first: the depth of a number is how far it lies beyond the reference's 0.5 or 99.5 % quantile, in
    widths of the range between the two; an unseen category, and a missing value where none ever was, have depth 1; a
    row's depth is the sum. Rows without unusual features are left out.
    """
    counts = np.array([len(names) for names in encoder.unusual(encoded)], dtype=np.int64)
    if not counts.any():
        return []
    depth = _depth(encoder, encoded)
    order = np.lexsort((np.arange(len(counts)), -depth, -counts))
    return [place for place in order[:limit].tolist() if counts[place]]


def _depth(encoder: Encoder, encoded: Encoded) -> NDArray[np.float64]:
    seen = [encoder.schema[name].seen for name in encoder.number_names]
    low = np.array([-np.inf if each.low is None else each.low for each in seen])
    high = np.array([np.inf if each.high is None else each.high for each in seen])
    width = high - low
    width = np.where(np.isfinite(width) & (width > 0), width, 1.0)
    beyond = np.maximum(low - encoded.numbers, encoded.numbers - high) / width
    missing = np.isnan(encoded.numbers) & np.array([each.missing_share == 0 for each in seen], dtype=bool)
    depth = np.where(missing, 1.0, np.clip(np.nan_to_num(beyond, nan=0.0), 0.0, DEEPEST)).sum(axis=1)
    for name, texts in encoded.texts.items():
        known = encoder.schema[name].seen.categories
        depth += np.array([text not in known for text in texts], dtype=np.float64)
    return np.asarray(depth, dtype=np.float64)
