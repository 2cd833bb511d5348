"""Logistic regression on frozen features, by scikit-learn, and the model that comes of it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
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
    """Weights (K, D) and biases (K) of the classes (K,) that the training features had, by number.

    >>> head = LinearHead(weights=np.array([[0.0], [1.0]]), biases=np.zeros(2), classes=np.array([0, 2]))
    >>> head.predict(np.array([[-1.0], [1.0]])).tolist(), head.shares(np.zeros((1, 1)), classes=3).tolist()
    ([0, 2], [[0.5, 0.0, 0.5]])
    """

    weights: NDArray[np.float64]
    biases: NDArray[np.float64]
    classes: NDArray[np.int64]

    @classmethod
    def fit(cls, train: FeaturePart, *, penalty: float = 1.0) -> LinearHead:
        """Fit multinomial logistic regression under an L2 penalty: scikit-learn's C is 1 / `penalty`, 0 is none.

        Raises `DataError` where several classes may hold, or there are fewer than two.
        """
        return next(cls.path(train, (penalty,)))

    @classmethod
    def path(cls, train: FeaturePart, penalties: Sequence[float]) -> Iterator[LinearHead]:
        """Yield the head under each penalty; every fit starts from the one before, so let them fall.

        Raises what `fit` does.
        """
        if not train.exclusive:
            raise DataError("a linear probe tells exclusive classes; these images may have several at once.")
        if len(np.unique(train.truth)) < 2:
            raise DataError("a linear probe tells at least two classes apart; the training part has one.")
        # In 32 bits the solver stops early where features are not scaled.
        features = train.features.astype(np.float64)
        fitted = logistic_regression(max_iter=MOST_ITERATIONS, warm_start=len(penalties) > 1)
        for penalty in penalties:
            fitted.set_params(C=1 / penalty if penalty else math.inf).fit(features, train.truth)
            yield cls._of(fitted)

    @classmethod
    def _of(cls, fitted: Any) -> LinearHead:
        weights, biases = np.array(fitted.coef_, np.float64), np.array(fitted.intercept_, np.float64)
        if len(weights) == 1:
            # Of two classes, one row tells how much likelier the second is; the first is the measure.
            weights, biases = np.stack([0 * weights[0], weights[0]]), np.array([0.0, biases[0]])
        return cls(weights=weights, biases=biases, classes=np.asarray(fitted.classes_, np.int64))

    def predict(self, features: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the likeliest class (N,) of each image."""
        likeliest: NDArray[np.int64] = self.classes[self.scores(features).argmax(axis=1)]
        return likeliest

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the logits (N, K) of the classes that the training features had."""
        scores: NDArray[np.float64] = features.astype(np.float64) @ self.weights.T + self.biases
        return scores

    def shares(self, features: NDArray[np.floating], *, classes: int) -> NDArray[np.float64]:
        """Return the probability (N, classes) of every class, 0 for those that the training features lacked."""
        scores = self.scores(features)
        told = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = np.zeros((len(features), classes))
        shares[:, self.classes] = told / told.sum(axis=1, keepdims=True)
        return shares


def fit_linear_probe(
    model: Model,
    train: FeaturePart,
    *,
    classes: tuple[str, ...],
    input: InputSpec,
    preparation: Preparation,
    scaler: bool = True,
    penalty: float = 1.0,
) -> LinearProbe:
    """Fit a linear head on features that `model` gave of images read by `input` and prepared so, as one model.

    Raises `DataError` where a class has no training image, since the model could never answer it.
    """
    check_every_class(train, classes)
    measured = Scaler.fit(train.features) if scaler else None
    if measured is not None:
        train = type(train)(features=measured(train.features), truth=train.truth)
    head = LinearHead.fit(train, penalty=penalty)
    return probe_of(model, head, measured, classes=classes, input=input, preparation=preparation)


def check_every_class(train: FeaturePart, classes: tuple[str, ...]) -> None:
    """Raise `DataError` where a class has no training image."""
    missing = [name for number, name in enumerate(classes) if number not in train.truth]
    if missing:
        raise DataError(f"the training part has no image of {', '.join(missing)}; a linear probe needs some of each.")


def probe_of(
    model: Model,
    head: LinearHead,
    scaler: Scaler | None,
    *,
    classes: tuple[str, ...],
    input: InputSpec,
    preparation: Preparation,
) -> LinearProbe:
    """Put a head for all of the classes, on features that `scaler` standardises, on its frozen embedder."""
    features = head.weights.shape[1]
    probe = linear_probe(model, classes=classes, features=features, input=input, preparation=preparation)
    if scaler is not None:
        probe.network.centre.copy_(torch.from_numpy(scaler.centre))
        probe.network.spread.copy_(torch.from_numpy(scaler.spread))
    with torch.no_grad():
        probe.network.head.weight.copy_(torch.from_numpy(head.weights))
        probe.network.head.bias.copy_(torch.from_numpy(head.biases))
    return probe.eval()


def logistic_regression(**options: Any) -> Any:
    """Return scikit-learn's `LogisticRegression`; raise `ConfigurationError` where it is not installed."""
    try:
        library = importlib.import_module("sklearn.linear_model")
    except ImportError as error:
        raise ConfigurationError(
            "linear probes are fitted by scikit-learn; install it: pip install scikit-learn."
        ) from error
    return library.LogisticRegression(**options)
