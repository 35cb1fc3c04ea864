"""Whether a bundle answers as its pipeline: from the user's frame, through the schema, and with ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leeway.model.conversion import NotExpressible, to_onnx
from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import BundleError
from leeway.model.onnx import OnnxScorer
from leeway.model.sklearn import SklearnScorer

AGREEMENT: Final = 1e-5
"""Largest difference between the pipeline and its bundle on any row: of probabilities, or of predicted numbers in
standard deviations of the numbers predicted for the same rows."""
NEVER_SEEN: Final = "\N{REPLACEMENT CHARACTER} never seen"


@dataclass(frozen=True)
class Compared:
    """Encoded rows, and the pipeline's outputs for the same rows."""

    encoded: Encoded
    outputs: NDArray[np.float64]


def compare(model: SklearnScorer, encoded: Encoded, given: pd.DataFrame | None) -> Compared:
    """Score rows as the user gave them, and check that rows built from the schema's values get the same outputs.

    `given` are the same rows in the user's frame; None if there is no other frame than the built one.

    Raises:
        BundleError: the pipeline cannot score the rows, or the outputs differ by more than `AGREEMENT`; the message
            names the row and its columns.
    """
    built = model.layout.frame(model.encoder, encoded)
    if given is None:
        return Compared(encoded, _outputs(model, built))
    expected, found = _outputs(model, given), _outputs(model, built)
    apart = _apart(model, found, expected, expected) > AGREEMENT
    if apart.any():
        row = int(np.argmax(apart))
        raise BundleError(
            f"on {apart.sum():,} of {len(apart):,} rows the bundle would answer differently from the pipeline: row"
            f" {row} scores {_shown(expected[row])}, in the bundle {_shown(found[row])}. {_why(given, built, row)}"
        )
    return Compared(encoded, expected)


def _apart(
    model: SklearnScorer, found: NDArray[np.float64], expected: NDArray[np.float64], all_rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far the outputs of each row are apart, in the unit of `AGREEMENT`."""
    apart = np.abs(found - expected)
    if model.target.task == "regression":
        return np.asarray(apart / (float(np.std(all_rows)) or 1.0))
    return apart if apart.ndim == 1 else np.asarray(apart.max(axis=1))


def _shown(output: NDArray[np.float64]) -> str:
    return ", ".join(f"{each:.4g}" for each in np.atleast_1d(output))


def _outputs(model: SklearnScorer, frame: pd.DataFrame) -> NDArray[np.float64]:
    try:
        outputs = model.score_frame(frame)
    except Exception as error:
        raise BundleError(
            f"the pipeline cannot score its reference: {error}. Give rows with the columns, types and missing values of"
            " the frame that it was fitted on"
        ) from error
    if model.target.task == "regression":
        if not np.isfinite(outputs).all():
            raise BundleError("the pipeline predicts numbers that are not finite")
    elif not ((outputs >= 0) & (outputs <= 1)).all():
        raise BundleError("the pipeline's probabilities are not between 0 and 1")
    return outputs


def _why(given: pd.DataFrame, built: pd.DataFrame, row: int) -> str:
    cells = [
        f"{name!r} is {given[name].iloc[row]!r}, in the bundle {built[name].iloc[row]!r}"
        for name in built
        if not _same(given[name].iloc[row], built[name].iloc[row])
    ]
    if not cells:
        return "The pipeline must use only the values of a row, and give the same answer each time"
    return (
        f"In that row {'; '.join(cells)}. Use one type for each column, and one value for missing text, and fit again"
    )


def _same(given: Any, built: Any) -> bool:  # noqa: ANN401 (any cells)
    if pd.isna(given) or pd.isna(built):
        return type(given) is type(built)
    return isinstance(given, str) == isinstance(built, str) and bool(given == built)


def strange_rows(encoder: Encoder, rows: Encoded) -> Encoded:
    """Copies of the first row, each with one category that is unseen or missing, or one number that is missing."""
    numbers, texts = [rows.numbers[0]], [{name: column[0] for name, column in rows.texts.items()}]
    for feature in encoder.schema:
        if feature.kind == "category":
            strange = [NEVER_SEEN, ""] if feature.nullable else [NEVER_SEEN]
            numbers += [numbers[0]] * len(strange)
            texts += [{**texts[0], feature.name: text} for text in strange]
        elif feature.nullable:
            row = rows.numbers[0].copy()
            row[encoder.number_names.index(feature.name)] = np.nan
            numbers.append(row)
            texts.append(texts[0])
    return Encoded(np.stack(numbers), {name: [row[name] for row in texts] for name in encoder.text_names})


def compare_strange(model: SklearnScorer, known: Encoded) -> list[Compared]:
    """Strange rows and their outputs; no rows, and a warning, if the pipeline rejects such values."""
    strange = strange_rows(model.encoder, known)
    try:
        return [Compared(strange, model.score(strange))]
    except (TypeError, ValueError) as error:
        warnings.warn(
            f"the pipeline rejects values that it has not seen, and so will the service: {error}", stacklevel=3
        )
        return []


def agreeing_onnx(model: SklearnScorer, rows: Sequence[Compared]) -> bytes:
    """The pipeline as an ONNX model that agrees with it on every row.

    Raises:
        NotExpressible: there is none; the message says why.
    """
    try:
        converted = to_onnx(model)
        onnx = OnnxScorer(converted, model.encoder)
        reference = rows[0].outputs
        apart = max(_apart(model, onnx.score(each.encoded), each.outputs, reference).max() for each in rows)
    except Exception as error:  # converter and runtime raise anything
        raise NotExpressible(f"ONNX cannot express the pipeline: {error}") from error
    if not apart <= AGREEMENT:  # NaN is not an agreement
        unit = " standard deviations" if model.target.task == "regression" else ""
        raise NotExpressible(f"ONNX and scikit-learn differ by {apart:.2g}{unit} on a row, more than {AGREEMENT:g}")
    return converted
