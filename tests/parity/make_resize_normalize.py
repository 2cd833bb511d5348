"""Make the parity bundle of the resize-and-normalise benchmark (a maintainer's tool).

The authors' repository is not run here. Votes, scores and averages come from scikit-learn; image statistics, random
convolutional features, the bilinear resize and the whitened patches are transcribed below in plain numpy, pixel by
pixel where that is clearer, from the description of the published benchmark. Nothing here is shared with Swath.

Run it on a CPU in an environment that has scikit-learn (made with 1.9.1):
`python tests/parity/make_resize_normalize.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
import torch
from bundles import BundleWriter
from fill import generator
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score
from sklearn.neighbors import KNeighborsClassifier

IMAGES, CHANNELS, SIDE, LARGE = 6, 3, 40, 224
FILTERS, KERNEL, SEED = 256, 3, 42
TRAIN, TEST, WIDTH, CLASSES, LABELS = 160, 60, 6, 7, 5

Floats = NDArray[Any]


def image_statistics(image: Floats) -> Floats:
    """Mean, standard deviation with n - 1, maximum, minimum of every channel, in this order."""
    pixels = [channel.ravel().astype(np.float64) for channel in image]
    return np.array(
        [p.sum() / p.size for p in pixels]
        + [np.sqrt(((p - p.mean()) ** 2).sum() / (p.size - 1)) for p in pixels]
        + [max(p) for p in pixels]
        + [min(p) for p in pixels]
    )


def gaussian_filters() -> Floats:
    """The draws of a torch generator of this seed."""
    drawn = torch.Generator()
    drawn.manual_seed(SEED)
    return torch.randn(FILTERS, CHANNELS, KERNEL, KERNEL, generator=drawn).numpy()


def random_features(image: Floats, filters: Floats) -> Floats:
    """The mean of what is above and of what is below zero after a valid convolution with bias -1."""
    windows = sliding_window_view(image.astype(np.float64), (KERNEL, KERNEL), axis=(1, 2))
    answer = np.einsum("cyxij,fcij->fyx", windows, filters.astype(np.float64)) - 1.0
    above = np.where(answer > 0, answer, 0.0).mean(axis=(1, 2))
    below = np.where(answer < 0, -answer, 0.0).mean(axis=(1, 2))
    return np.concatenate([above, below])


def bilinear(image: Floats, side: int) -> Floats:
    """Resize with pixel centres at half-integers (align_corners False), without antialiasing."""
    old = image.shape[1]
    found = np.zeros((len(image), side, side))
    places = np.clip((np.arange(side) + 0.5) * old / side - 0.5, 0, old - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, old - 1)
    share = places - low
    for y in range(side):
        top, bottom = image[:, low[y]].astype(np.float64), image[:, high[y]].astype(np.float64)
        row = top * (1 - share[y]) + bottom * share[y]
        found[:, y] = row[:, low] * (1 - share) + row[:, high] * share
    return found


def zca_filters(images: Floats) -> Floats:
    """Patches at places drawn one after another (image, row, column), normalised, whitened twice."""
    draws = np.random.default_rng(SEED)
    patches = []
    for _ in range(FILTERS):
        which = draws.integers(0, len(images))
        y = draws.integers(0, SIDE - KERNEL)
        x = draws.integers(0, SIDE - KERNEL)
        patches.append(images[which][:, y : y + KERNEL, x : x + KERNEL].astype(np.float32).ravel())
    P = np.stack(patches)
    P = P - P.mean(axis=1, keepdims=True)
    norms = np.sqrt((P**2).sum(axis=1, keepdims=True))
    norms[norms < 1e-8] = 1
    P = P / norms
    E, V = np.linalg.eig(P.T @ P / len(P))
    E = E + np.float32(0.001)
    Z = V @ np.diag(E**-0.5) @ V.T
    return np.real(P @ Z @ Z.T).astype(np.float32).reshape(FILTERS, CHANNELS, KERNEL, KERNEL)


def features(writer: BundleWriter) -> None:
    """Store images, filters and features."""
    images = generator("images").integers(0, 5000, (IMAGES, CHANNELS, SIDE, SIDE), dtype=np.uint16)
    # Neighbouring pixels of real images are alike, and so are those of these: a running mean over four.
    images = ((images + np.roll(images, 1, 2) + np.roll(images, 1, 3) + np.roll(images, (1, 1), (2, 3))) // 4).astype(
        np.uint16
    )
    writer.add_input("images", images)
    divided = images / 10_000
    writer.add_output("image_statistics", np.stack([image_statistics(image) for image in divided]))
    gaussian, zca = gaussian_filters(), zca_filters(images)
    writer.add_output("gaussian_filters", gaussian)
    writer.add_output("zca_filters", zca)
    large = [bilinear(image, LARGE) for image in divided]
    for name, filters in (("gaussian", gaussian), ("zca", zca)):
        writer.add_output(f"{name}_features", np.stack([random_features(image, filters) for image in divided]))
        writer.add_output(f"{name}_features_{LARGE}", np.stack([random_features(image, filters) for image in large]))


def neighbours(writer: BundleWriter) -> dict[str, float]:
    """Store features, truths and scikit-learn's votes; return its averages."""
    draws = generator("neighbours")
    train, test = (draws.standard_normal((n, WIDTH)).astype(np.float32) for n in (TRAIN, TEST))
    classes, truth = (draws.integers(0, CLASSES, n) for n in (TRAIN, TEST))
    labels = (train[:, :LABELS] + 0.7 * draws.standard_normal((TRAIN, LABELS)) > 0.2).astype(np.int64)
    true_labels = (test[:, :LABELS] + 0.7 * draws.standard_normal((TEST, LABELS)) > 0.2).astype(np.int64)
    stored = {"train": train, "test": test, "classes": classes, "truth": truth}
    for name, array in (stored | {"labels": labels, "true_labels": true_labels}).items():
        writer.add_input(name, array)
    single = KNeighborsClassifier(n_neighbors=5).fit(train, classes)
    writer.add_output("predicted_classes", single.predict(test))
    writer.add_output("class_shares", single.predict_proba(test))
    several = KNeighborsClassifier(n_neighbors=5).fit(train, labels)
    scores = np.stack([pair[:, 1] for pair in several.predict_proba(test)], axis=1)
    predicted = several.predict(test)
    writer.add_output("label_shares", scores)
    writer.add_output("predicted_labels", predicted)
    figures = {"accuracy": float((single.predict(test) == truth).mean())}
    for average in ("micro", "macro", "weighted"):
        figures[f"{average} mAP"] = float(average_precision_score(true_labels, scores, average=average))
        figures[f"{average} F1"] = float(f1_score(true_labels, predicted, average=average))
    return figures


def main() -> None:
    """Write `tests/parity/resize-normalize-benchmark`."""
    writer = BundleWriter.start("resize-normalize-benchmark")
    features(writer)
    figures = neighbours(writer)
    about = {
        "library": f"scikit-learn {sklearn.__version__} (BSD-3-Clause); features transcribed in numpy",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "input": "images are digital numbers, drawn by the generator of the name 'images'; features see them / 10,000",
        "seed": SEED,
        "figures": figures,
    }
    print(figures)
    print(writer.write(about))


if __name__ == "__main__":
    main()
