"""What scores mean: losses worked out by hand, and points found on maps made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import functional

from swath.errors import ConfigurationError, DataError
from swath.geometry.windows import Size
from swath.models.outputs import ClassificationOutput, PointOutput, SegmentationOutput
from swath.samples.batch import Batch
from swath.samples.labels import Label
from swath.samples.rasters import ClassMap
from swath.samples.vectors import Points

COVER = SegmentationOutput(classes=("land", "water"))
BUILDINGS = SegmentationOutput(classes=("background", "building"), binary=True)


def batch_of(*targets: object, valid: torch.Tensor | None = None, height: int = 1, width: int = 3) -> Batch:
    count = max(1, len(targets))
    images = {"image": torch.zeros(count, 1, height, width)}
    return Batch(images=images, valid={"image": valid}, targets=targets or None)


def row_of(*labels: int, classes: tuple[str, ...] = COVER.classes) -> ClassMap:
    return ClassMap(size=Size(1, len(labels)), labels=[labels], classes=classes)


def logit(probability: object) -> torch.Tensor:
    p = torch.tensor(probability, dtype=torch.float32)
    return torch.log(p / (1 - p))


def test_soft_labels_weigh_the_cross_entropy():
    output = ClassificationOutput(classes=("land", "water"))
    mixed = Label(size=Size(1, 3), scores=[0.25, 0.75], classes=output.classes)
    loss = output.loss(torch.log(torch.tensor([[0.2, 0.8]])), batch_of(mixed))["cross_entropy"]
    assert loss.item() == pytest.approx(-0.25 * math.log(0.2) - 0.75 * math.log(0.8), rel=1e-5)
    found = output.annotations(torch.log(torch.tensor([[0.2, 0.8]])), batch_of(mixed))
    assert found[0].size == Size(1, 3)
    assert found[0].scores.tolist() == pytest.approx([0.2, 0.8])


@pytest.mark.parametrize(
    "output",
    [
        ClassificationOutput(classes=("a", "b")),
        COVER,
        PointOutput(classes=("tree",), sigma=1.0, minimum_distance=2.0, threshold=0.5),
    ],
)
def test_a_batch_without_its_kind_of_truth_is_refused(output):
    with pytest.raises(DataError, match="batch of 1 has 0"):
        output.loss(torch.zeros(1, 2, 1, 3), batch_of())


def test_cross_entropy_and_dice_of_three_pixels_one_of_them_unknown():
    """Water has 0.1, 0.6 and 0.8; truth is land, water, unknown."""
    water = torch.tensor([0.1, 0.6, 0.8])
    logits = torch.log(torch.stack([1 - water, water]))[None, :, None].requires_grad_()
    terms = COVER.loss(logits, batch_of(row_of(0, 1, 255)))
    assert terms["cross_entropy"].item() == pytest.approx(-(math.log(0.9) + math.log(0.6)) / 2, rel=1e-5)
    land_dice = 1 - (2 * 0.9 + 1) / (0.9 + 0.4 + 1 + 1)
    water_dice = 1 - (2 * 0.6 + 1) / (0.1 + 0.6 + 1 + 1)
    assert terms["dice"].item() == pytest.approx((land_dice + water_dice) / 2, rel=1e-5)
    sum(terms.values()).backward()
    assert logits.grad[..., :2].abs().min() > 0
    assert logits.grad[..., 2].abs().max() == 0


def test_one_channel_tells_two_classes():
    """The building has 0.1, 0.6 and 0.8; truth is background, building, unknown."""
    logits = logit([0.1, 0.6, 0.8])[None, None, None].requires_grad_()
    terms = BUILDINGS.loss(logits, batch_of(row_of(0, 1, 255, classes=BUILDINGS.classes)))
    assert terms["cross_entropy"].item() == pytest.approx(-(math.log(0.9) + math.log(0.6)) / 2, rel=1e-5)
    assert terms["dice"].item() == pytest.approx(1 - (2 * 0.6 + 1) / (0.7 + 1 + 1), rel=1e-5)
    sum(terms.values()).backward()
    assert logits.grad[..., 2].abs().max() == 0
    found = BUILDINGS.annotations(logits, batch_of())[0]
    assert found.labels.tolist() == [[0, 1, 1]]
    assert found.confidence[0].tolist() == pytest.approx([0.9, 0.6, 0.8], abs=1e-6)


def test_dice_sums_over_the_batch_and_its_weight_scales_it():
    half = SegmentationOutput(classes=BUILDINGS.classes, binary=True, dice=0.5)
    logits = logit([[0.9], [0.2]])[:, None, None]
    batch = batch_of(*(row_of(label, classes=BUILDINGS.classes) for label in (1, 0)), width=1)
    assert BUILDINGS.loss(logits, batch)["dice"].item() == pytest.approx(1 - (1.8 + 1) / (1.1 + 1 + 1), rel=1e-5)
    assert half.loss(logits, batch)["dice"].item() == pytest.approx((1 - 2.8 / 3.1) / 2, rel=1e-5)


def test_a_map_of_unknown_pixels_alone_teaches_nothing():
    logits = torch.randn(1, 2, 1, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = COVER.loss(logits, batch_of(row_of(255, 255, 255)))
    assert [term.item() for term in terms.values()] == [0, 0]


def test_a_binary_output_has_two_classes():
    with pytest.raises(ConfigurationError, match="found 3"):
        SegmentationOutput(classes=("a", "b", "c"), binary=True)


def trees(*, minimum_distance: float = 2.0, threshold: float = 0.5, sigma: float = 1.0) -> PointOutput:
    return PointOutput(classes=("tree",), sigma=sigma, minimum_distance=minimum_distance, threshold=threshold)


def field(peaks: dict[tuple[int, int], float], height: int = 9, width: int = 12) -> torch.Tensor:
    """Logits of a map that is 0.05 but for some (row, column)."""
    probability = np.full((1, 1, height, width), 0.05)
    for (row, column), value in peaks.items():
        probability[0, 0, row, column] = value
    return logit(probability)


def found_in(output: PointOutput, logits: torch.Tensor, valid: torch.Tensor | None = None) -> Points:
    height, width = logits.shape[2:]
    (points,) = output.annotations(logits, batch_of(valid=valid, height=height, width=width))
    return points


def test_a_lone_peak_is_the_centre_of_its_pixel():
    points = found_in(trees(), field({(4, 7): 0.9}))
    assert points.points.tolist() == [[7.5, 4.5]]
    assert points.scores.tolist() == pytest.approx([0.9])
    assert points.size == Size(9, 12)


def test_a_peak_leans_towards_its_higher_neighbour():
    """The parabola through 0.6, 0.9, 0.8 has its top at (0.8 - 0.6) / (2 (1.8 - 1.4)) = 0.25."""
    points = found_in(trees(), field({(4, 6): 0.6, (4, 7): 0.9, (4, 8): 0.8, (3, 7): 0.8, (5, 7): 0.6}))
    np.testing.assert_allclose(points.points, [[7.75, 4.25]], atol=1e-5)


def test_peaks_at_the_border_stay_in_the_middle_of_their_pixel_across_it():
    points = found_in(trees(), field({(0, 0): 0.9, (0, 1): 0.7, (8, 11): 0.8}))
    assert points.points.tolist() == [[0.5, 0.5], [11.5, 8.5]]


@pytest.mark.parametrize(("distance", "columns"), [(4.0, [2.5]), (3.0, [2.5]), (2.0, [2.5, 5.5])])
def test_of_two_peaks_nearer_than_the_minimum_distance_the_best_stays(distance, columns):
    points = found_in(trees(minimum_distance=distance), field({(4, 5): 0.7, (4, 2): 0.9}))
    assert points.points[:, 0].tolist() == columns


@pytest.mark.parametrize(("threshold", "count"), [(0.65, 2), (0.75, 1), (0.95, 0)])
def test_peaks_below_the_threshold_are_no_points(threshold, count):
    points = found_in(trees(threshold=threshold), field({(1, 2): 0.7, (6, 9): 0.9}))
    assert points.scores.tolist() == pytest.approx([0.9, 0.7][:count])


def test_nothing_is_found_where_the_image_is_invalid():
    valid = torch.ones(1, 9, 12, dtype=torch.bool)
    valid[:, :, 6:] = False
    points = found_in(trees(), field({(1, 2): 0.7, (6, 9): 0.9}), valid)
    assert points.points.tolist() == [[2.5, 1.5]]


def test_peaks_of_two_classes_are_apart():
    output = PointOutput(classes=("oak", "fir"), sigma=1.0, minimum_distance=3.0, threshold=0.5)
    points = found_in(output, torch.cat([field({(4, 4): 0.8}), field({(4, 5): 0.9})], dim=1))
    assert points.labels.tolist() == [1, 0]
    assert points.points[:, 0].tolist() == [5.5, 4.5]


def focal_by_hand(unknown: tuple[tuple[int, int], ...] = ()) -> float:
    """A centre in the middle of 3 x 3, sigma 1; the middle has 0.7, its eight neighbours 0.2."""
    total = -((1 - 0.7) ** 2) * math.log(0.7)
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1) and (row, column) not in unknown:
                bump = math.exp(-((row - 1) ** 2 + (column - 1) ** 2) / 2)
                total -= (1 - bump) ** 4 * 0.2**2 * math.log(1 - 0.2)
    return total


def middle_tree(*points: tuple[float, float]) -> Points:
    return Points.of(np.array(points or [(1.3, 1.8)]), classes=("tree",), height=3, width=3)


NEAR_MIDDLE = field({(1, 1): 0.7, **{(r, c): 0.2 for r in range(3) for c in range(3) if (r, c) != (1, 1)}}, 3, 3)


def test_focal_loss_of_one_centre():
    loss = trees().loss(NEAR_MIDDLE, batch_of(middle_tree(), height=3, width=3))["focal"]
    assert loss.item() == pytest.approx(focal_by_hand(), rel=1e-5)


def test_focal_loss_leaves_invalid_pixels_out():
    valid = torch.ones(1, 3, 3, dtype=torch.bool)
    valid[0, 0, 2] = valid[0, 2, 1] = False
    loss = trees().loss(NEAR_MIDDLE, batch_of(middle_tree(), valid=valid, height=3, width=3))["focal"]
    assert loss.item() == pytest.approx(focal_by_hand(unknown=((0, 2), (2, 1))), rel=1e-5)


def test_focal_loss_is_shared_among_the_centres_and_bumps_keep_the_larger_value():
    """Centres at both ends of three pixels: the middle is one sigma from each."""
    pair = Points.of([[0.5, 0.5], [2.5, 0.5]], classes=("tree",), height=1, width=3)
    loss = trees().loss(logit([[[[0.7, 0.2, 0.6]]]]), batch_of(pair))["focal"]
    expected = -(0.3**2) * math.log(0.7) - 0.4**2 * math.log(0.6)
    expected -= (1 - math.exp(-0.5)) ** 4 * 0.2**2 * math.log(0.8)
    assert loss.item() == pytest.approx(expected / 2, rel=1e-5)


def test_focal_loss_of_an_image_without_trees_is_finite():
    none = Points.of(np.zeros((0, 2)), classes=("tree",), height=1, width=3)
    loss = trees().loss(logit([[[[0.2, 0.2, 0.2]]]]), batch_of(none))["focal"]
    assert loss.item() == pytest.approx(-3 * 0.2**2 * math.log(0.8), rel=1e-5)


# -- classes that count for more


WEIGHTS = (0.5, 3.0, 1.25)
THREE = ("land", "water", "ice")


def random_logits(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_classification_is_torchs(smoothing):
    output = ClassificationOutput(classes=THREE, label_smoothing=smoothing).weighing(WEIGHTS)
    truth = [0, 1, 1, 2, 0]
    batch = batch_of(*(Label.of(THREE[number], THREE, Size(1, 3)) for number in truth))
    logits = random_logits(5, 3)
    expected = functional.cross_entropy(
        logits, torch.tensor(truth), weight=torch.tensor(WEIGHTS), label_smoothing=smoothing
    )
    assert output.loss(logits, batch)["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_weighted_classification_by_hand_with_mixed_labels():
    output = ClassificationOutput(classes=("land", "water"), class_weights=(1.0, 4.0))
    mixed = Label(size=Size(1, 3), scores=[0.25, 0.75], classes=output.classes)
    plain = Label.of("land", output.classes, Size(1, 3))
    loss = output.loss(torch.log(torch.tensor([[0.2, 0.8], [0.6, 0.4]])), batch_of(mixed, plain))["cross_entropy"]
    total = -(0.25 * math.log(0.2) + 4 * 0.75 * math.log(0.8) + math.log(0.6))
    assert loss.item() == pytest.approx(total / (0.25 + 4 * 0.75 + 1), rel=1e-6)


def test_weighted_segmentation_is_torchs_and_dice_stays():
    plain = SegmentationOutput(classes=THREE)
    batch = batch_of(row_of(0, 1, 255, 2, classes=THREE), row_of(1, 1, 0, 255, classes=THREE), width=4)
    logits = random_logits(2, 3, 1, 4)
    labels = torch.tensor([[[0, 1, 255, 2]], [[1, 1, 0, 255]]])
    expected = functional.cross_entropy(logits, labels, weight=torch.tensor(WEIGHTS), ignore_index=255)
    found = plain.weighing(WEIGHTS).loss(logits, batch)
    assert found["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(found["dice"], plain.loss(logits, batch)["dice"])


def test_a_weighted_binary_output_is_torchs_of_two_classes():
    batch = batch_of(row_of(0, 1, 255, classes=BUILDINGS.classes), row_of(1, 1, 0, classes=BUILDINGS.classes))
    logits = random_logits(2, 1, 1, 3)
    labels = torch.tensor([[[0, 1, 255]], [[1, 1, 0]]])
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = functional.cross_entropy(two, labels, weight=torch.tensor([0.2, 5.0]), ignore_index=255)
    found = BUILDINGS.weighing((0.2, 5.0)).loss(logits, batch)
    assert found["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_classes_without_weight_leave_nothing_of_a_batch_that_has_no_other():
    logits = random_logits(1, 2, 1, 3).requires_grad_()
    loss = COVER.weighing((0.0, 1.0)).loss(logits, batch_of(row_of(0, 0, 255)))["cross_entropy"]
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.abs().max() == 0


def test_weighted_points_count_maps_and_centres_by_class():
    output = PointOutput(classes=("oak", "fir"), sigma=1.0, minimum_distance=2.0, threshold=0.5)
    truth = Points.of([[0.5, 0.5], [2.5, 0.5]], labels=[0, 1], classes=output.classes, height=1, width=3)
    logits = logit([[[[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]]])
    one, other = (
        PointOutput(classes=(name,), sigma=1.0, minimum_distance=2.0, threshold=0.5).loss(
            logits[:, [number]], batch_of(Points.of([place], classes=(name,), height=1, width=3))
        )["focal"]
        for number, (name, place) in enumerate((("oak", [0.5, 0.5]), ("fir", [2.5, 0.5])))
    )
    found = output.weighing((1.0, 3.0)).loss(logits, batch_of(truth))["focal"]
    assert found.item() == pytest.approx((one + 3 * other).item() / (1 + 3), rel=1e-5)


@pytest.mark.parametrize("output", [COVER, BUILDINGS, ClassificationOutput(classes=("land", "water"))])
def test_equal_weights_are_none_and_are_not_written_down(output):
    logits = random_logits(1, output.channels, 1, 3)
    target = row_of(0, 1, 0, classes=output.classes)
    if isinstance(output, ClassificationOutput):
        logits, target = logits.mean((2, 3)), Label.of("water", output.classes, Size(1, 3))
    alike = output.weighing((2.0, 2.0))
    plain, weighed = (one.loss(logits, batch_of(target))["cross_entropy"] for one in (output, alike))
    assert weighed.item() == pytest.approx(plain.item(), rel=1e-6)
    adapter = TypeAdapter(type(output))
    assert adapter.dump_python(alike, mode="json") == adapter.dump_python(output, mode="json")
    assert "class_weights" not in adapter.dump_python(output, mode="json")
