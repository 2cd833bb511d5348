"""Temperature: the likelihood decides, decisions stay, and calibration improves on data not used to choose it."""

import numpy as np
import pytest
import torch
from little_models import Little, LittleConfig, brightness_segmenter
from sklearn.metrics import log_loss
from torch import nn

from swath.benchmarks.temperature import choose_temperature, negative_log_likelihood
from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.models.inputs import InputSpec
from swath.models.outputs import ClassificationOutput
from swath.samples.labels import Label
from swath.samples.sample import Sample

CLASSES = ("bright", "dark")
GREY = (Band(name="grey", role="grey"),)


class Chips(list):
    """Noisy chips: the brighter, the more probably called bright, by a logistic law of known slope."""

    def __init__(self, count, slope, seed):
        draw = np.random.default_rng(seed)
        for number in range(count):
            level = draw.uniform(-1, 1)
            name = CLASSES[int(draw.random() > 1 / (1 + np.exp(-2 * slope * level)))]
            values = np.full((1, 4, 4), 127.5 + 127.5 * level, np.float32)
            pixels = Pixels.from_array(values, GREY, Unit.DN)
            self.append(Sample(key=str(number), images={"image": pixels}, target=Label.of(name, CLASSES, Size(4, 4))))


def classifier(gain):
    spec = InputSpec(bands=("grey",), unit=Unit.DN, mean=(127.5,), std=(127.5,), window=4)
    model = Little(LittleConfig(output=ClassificationOutput(classes=CLASSES), input=spec))
    with torch.no_grad():
        model.network.gain.fill_(gain)
    return model


@pytest.mark.parametrize("gain", [1.0, 8.0])
def test_the_true_slope_is_found_from_too_sure_and_too_unsure(gain):
    """Logits of gain times brightness are right for a law of slope 3 when divided by gain / 3."""
    model = classifier(gain)
    found = choose_temperature(model, Chips(4000, 3.0, seed=0))
    assert found == pytest.approx(gain / 3, rel=0.12)
    assert model.config.output.temperature == found


def test_decisions_stay_and_the_loss_falls_on_other_chips():
    model = classifier(8.0)
    chips = Chips(1500, 2.0, seed=1)
    told = [label.scores for label in model.predict(model.prepare(chips))]
    choose_temperature(model, Chips(1500, 2.0, seed=2))
    after = [label.scores for label in model.predict(model.prepare(chips))]
    assert np.array_equal(np.argmax(told, 1), np.argmax(after, 1))
    truth = [chip.target.best.name for chip in chips]
    assert log_loss(truth, after, labels=CLASSES) < log_loss(truth, told, labels=CLASSES) - 0.05


def test_likelihood_equals_that_of_scikit_learn():
    shares = np.random.default_rng(3).dirichlet(np.ones(4), 50)
    truth = np.random.default_rng(4).integers(0, 4, 50)
    sharper = shares**2 / (shares**2).sum(1, keepdims=True)
    assert negative_log_likelihood(shares, truth, 0.5) == pytest.approx(log_loss(truth, sharper, labels=range(4)))


def test_what_has_no_classes_is_refused():
    with pytest.raises(ConfigurationError, match="tells no classes"):
        choose_temperature(brightness_segmenter(), [])
    chips = [Sample(key="x", images=Chips(1, 1.0, seed=0)[0].images)]
    with pytest.raises(DataError, match="'x' has no one class"):
        choose_temperature(classifier(1.0), chips)
    with pytest.raises(ConfigurationError, match="above 0; found 0"):
        ClassificationOutput(classes=CLASSES, temperature=0)


def test_the_loss_does_not_know_the_temperature():
    model = classifier(4.0)
    batch = model.prepare(Chips(8, 1.0, seed=5))
    logits = nn.functional.one_hot(torch.arange(8) % 2).float()
    warm = ClassificationOutput(classes=CLASSES, temperature=3.0)
    plain = ClassificationOutput(classes=CLASSES)
    assert warm.loss(logits, batch)["cross_entropy"] == plain.loss(logits, batch)["cross_entropy"]
