"""Logistic regression on frozen features, by scikit-learn, and the model that comes of it."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from swath.benchmarks.feature_sets import Scaler
from swath.errors import ConfigurationError, DataError
from swath.models.pretrain.linear_probe import LinearProbe, linear_probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.benchmarks.feature_sets import FeaturePart
    from swath.models.base import Model
    from swath.models.inputs import InputSpec
    from swath.models.pretrain.preparation import Preparation

MOST_ITERATIONS = 3000


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearHead:
    """Weights (K, D) and biases (K) of the classes (K,) that the training features had, by number."""

    weights: NDArray[np.float64]
    biases: NDArray[np.float64]
    classes: NDArray[np.int64]

    @classmethod
    def fit(cls, train: FeaturePart, *, penalised: bool = True) -> LinearHead:
        """Fit multinomial logistic regression, with scikit-learn's L2 penalty (C = 1) or without any.

        Raises `DataError` where several classes may hold, or there are fewer than two.
        """
        if not train.exclusive:
            raise DataError("a linear probe tells exclusive classes; these images may have several at once.")
        if len(np.unique(train.truth)) < 2:
            raise DataError("a linear probe tells at least two classes apart; the training part has one.")
        library = _library()
        fitted = library.LogisticRegression(C=1.0 if penalised else math.inf, max_iter=MOST_ITERATIONS)
        # In 32 bits the solver stops early where features are not scaled.
        fitted.fit(train.features.astype(np.float64), train.truth)
        weights, biases = np.asarray(fitted.coef_, np.float64), np.asarray(fitted.intercept_, np.float64)
        if len(weights) == 1:
            # Of two classes, one row tells how much likelier the second is; the first is the measure.
            weights, biases = np.stack([0 * weights[0], weights[0]]), np.array([0.0, biases[0]])
        return cls(weights=weights, biases=biases, classes=np.asarray(fitted.classes_, np.int64))

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the likeliest class (N,) of each image."""
        scores = features.astype(np.float64) @ self.weights.T + self.biases
        likeliest: NDArray[np.int64] = self.classes[scores.argmax(axis=1)]
        return likeliest


def fit_linear_probe(
    model: Model,
    train: FeaturePart,
    *,
    classes: tuple[str, ...],
    input: InputSpec,
    preparation: Preparation,
    scaler: bool = True,
    penalised: bool = True,
) -> LinearProbe:
    """Fit a linear head on features that `model` gave of images read by `input` and prepared so, as one model.

    Raises `DataError` where a class has no training image, since the model could never answer it.
    """
    missing = [name for number, name in enumerate(classes) if number not in train.truth]
    if missing:
        raise DataError(f"the training part has no image of {', '.join(missing)}; a linear probe needs some of each.")
    probe = linear_probe(
        model,
        classes=classes,
        features=train.features.shape[1],
        input=input,
        preparation=preparation,
    )
    if scaler:
        measured = Scaler.fit(train.features)
        train = type(train)(features=measured(train.features), truth=train.truth)
        probe.network.centre.copy_(torch.from_numpy(measured.centre))
        probe.network.spread.copy_(torch.from_numpy(measured.spread))
    head = LinearHead.fit(train, penalised=penalised)
    with torch.no_grad():
        probe.network.head.weight.copy_(torch.from_numpy(head.weights))
        probe.network.head.bias.copy_(torch.from_numpy(head.biases))
    return probe.eval()


def _library() -> Any:
    try:
        return importlib.import_module("sklearn.linear_model")
    except ImportError as error:
        raise ConfigurationError(
            "linear probes are fitted by scikit-learn; install it: pip install scikit-learn."
        ) from error
