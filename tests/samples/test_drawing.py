"""Drawing: what is painted must be where it is known to be, in the colour that the legend says."""

from __future__ import annotations

import numpy as np
import pytest
from annotation_strategies import annotations, few
from hypothesis import given
from PIL import Image

from swath.errors import AnnotationError, BandMismatch, NothingToSee
from swath.geometry.windows import Size
from swath.imagery.bands import Band, Unit
from swath.imagery.pixels import Pixels
from swath.samples import (
    Annotation,
    Boxes,
    ClassMap,
    Flow,
    GroundedText,
    Instances,
    Label,
    OrientedBoxes,
    Points,
    Raster,
    Span,
    Transition,
)
from swath.samples.drawing import Canvas, display_image, draw, legend
from swath.samples.palette import OKABE_ITO, RAMP, class_colours, distinct_colours

ROLES = ("blue", "green", "red", "nir")


def imagery(values: np.ndarray, unit: Unit = Unit.EIGHT_BIT, valid: np.ndarray | None = None) -> Pixels:
    block = Pixels.from_array(values, [Band(name=role, role=role) for role in ROLES[: len(values)]], unit)
    return Pixels(values=block.values, bands=block.bands, unit=unit, valid=valid, grid=block.grid)


def black(size: Size) -> Pixels:
    return imagery(np.zeros((3, size.height, size.width), dtype=np.uint8))


def changed(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int).sum(axis=-1) > 0


def test_eight_bit_imagery_is_shown_as_it_is_in_the_right_order() -> None:
    values = np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3)
    np.testing.assert_array_equal(display_image(imagery(values)), np.moveaxis(values[[2, 1, 0]], 0, -1))
    np.testing.assert_array_equal(display_image(imagery(values), ("nir",)), np.stack([values[3]] * 3, axis=-1))
    np.testing.assert_array_equal(display_image(imagery(values[:2])), np.stack([values[0]] * 3, axis=-1))


def test_other_units_are_stretched_between_percentiles_of_the_valid_pixels() -> None:
    values = np.tile(np.linspace(0, 0.4, 101, dtype=np.float32), (3, 1, 1))
    values[:, 0, 0] = 9e9
    values[0, 0, 1] = np.nan
    valid = np.arange(101)[None] > 0
    shown = display_image(imagery(values, Unit.REFLECTANCE, valid), percentiles=(0, 100))
    assert shown[0, 0].tolist() == shown[0, 1].tolist() == [0, 0, 0]
    assert shown[0, 2].tolist() == [0, 0, 0] and shown[0, 100].tolist() == [255, 255, 255]
    np.testing.assert_allclose(shown[0, 51], 127.5, atol=1)
    flat = display_image(imagery(np.full((1, 2, 2), 7.0), Unit.DN))
    assert flat.shape == (2, 2, 3)


def test_imagery_that_cannot_be_shown_is_refused() -> None:
    values = np.zeros((3, 2, 2), dtype=np.uint8)
    with pytest.raises(BandMismatch, match="swir"):
        display_image(imagery(values), ("swir", "red", "blue"))
    with pytest.raises(AnnotationError, match="one band or three"):
        display_image(imagery(values), ("red", "blue"))
    with pytest.raises(NothingToSee):
        display_image(imagery(values, valid=np.zeros((2, 2), dtype=bool)))


def test_class_maps_are_painted_in_their_colours_at_the_stated_opacity() -> None:
    size = Size(2, 4)
    found = ClassMap(size=size, labels=[[0, 1, 2, 255]] * 2, classes=("background", "tree", "road"))
    picture = np.asarray(draw(black(size), found, opacity=1.0, scale=3))
    assert picture.shape == (6, 12, 3)
    for column, colour in enumerate([(0, 0, 0), OKABE_ITO[0], OKABE_ITO[1], (0, 0, 0)]):
        assert (picture[:, 3 * column : 3 * column + 3] == colour).all()
    half = np.asarray(draw(black(size), found, opacity=0.5))
    np.testing.assert_allclose(half[0, 1], np.array(OKABE_ITO[0]) / 2, atol=1.5)
    own = np.asarray(draw(black(size), found, opacity=1.0, palette={"tree": None, "background": "#010203"}))
    assert own[0, 0].tolist() == [1, 2, 3] and own[0, 1].tolist() == [0, 0, 0]
    assert tuple(own[0, 2]) == OKABE_ITO[1]


def test_a_transition_is_painted_where_it_changed() -> None:
    size = Size(1, 3)
    before = ClassMap(size=size, labels=[[0, 0, 255]], classes=("a", "b"))
    after = ClassMap(size=size, labels=[[1, 0, 1]], classes=("a", "b"))
    picture = draw(black(size), Transition(size=size, before=before, after=after), opacity=1.0)
    assert changed(picture).tolist() == [[True, False, False]]


def test_a_ring_stands_around_its_point() -> None:
    size = Size(50, 80)
    found = Points.of([[20.5, 30.5], [60.5, 10.5]], classes=("a",), height=50, width=80, scores=[0.9, 0.2])
    both = changed(draw(black(size), found, scale=4))
    rows, columns = np.nonzero(both[:, :160])
    assert abs(rows.mean() / 4 - 30.5) < 0.5 and abs(columns.mean() / 4 - 20.5) < 0.5
    assert both[:, 160:].any()
    assert not changed(draw(black(size), found, scale=4, minimum_score=0.5))[:, 160:].any()


def test_outlines_follow_boxes_and_leave_their_inside_free() -> None:
    size = Size(60, 60)
    for found in (
        Boxes(size=size, boxes=[[10, 30, 50, 50]], classes=("a",)),
        OrientedBoxes(size=size, boxes=[[30, 40, 20, 40, np.pi / 2]], classes=("a",)),
    ):
        picture = changed(draw(black(size), found, scale=5))
        assert picture[150, 100] and picture[250, 100] and picture[200, 50] and picture[200, 250]
        assert not picture[165:235, 65:235].any() and not picture[262:].any()


def test_instances_are_filled_but_not_their_holes() -> None:
    size = Size(60, 60)
    ring = np.zeros((60, 60), dtype=bool)
    ring[30:50, 10:50] = True
    ring[36:44, 26:34] = False
    picture = np.asarray(draw(black(size), Instances(size=size, masks=[ring], classes=("a",)), opacity=1.0, scale=2))
    assert tuple(picture[66, 30]) == OKABE_ITO[0]
    assert picture[80, 60].tolist() == [0, 0, 0] and picture[110, 30].tolist() == [0, 0, 0]


def test_rasters_run_from_dark_to_bright_and_leave_unknown_pixels() -> None:
    size = Size(1, 5)
    values = np.array([[[0.0, 1.0, 2.0, 3.0, np.nan]]])
    found = Raster(size=size, values=values, names=("height",), unit="metre")
    picture = np.asarray(draw(black(size), found, opacity=1.0)).astype(int)
    assert np.all(np.diff(picture[0, :4].sum(axis=1)) > 0)
    assert picture[0, 4].tolist() == [0, 0, 0]
    assert np.all(np.diff(RAMP.astype(float) @ [0.2126, 0.7152, 0.0722]) > -1)


def test_flow_is_drawn_along_its_arrows() -> None:
    size = Size(16, 40)
    vectors = np.zeros((2, 16, 40), dtype=np.float32)
    vectors[0, 8, 8] = 12
    picture = changed(draw(black(size), Flow(size=size, vectors=vectors), scale=4))
    assert picture[34, 40:76].all()  # from (8.5, 8.5) to (20.5, 8.5)
    assert not picture[:, 90:].any()


def test_words_are_written_and_wrapped_inside_the_picture() -> None:
    size = Size(100, 100)
    ship = Boxes(size=size, boxes=[[40, 60, 60, 70]], classes=("ship",))
    text = "A ship lies in the harbour " * 4
    said = GroundedText(size=size, text=text, spans=(Span(start=2, stop=6, evidence=ship),))
    picture = changed(draw(black(size), said, scale=2))
    assert picture[:60].any() and picture[120:140, 80:120].any()
    one = changed(draw(black(size), Label.of("a", ("a", "b"), size), scale=2))
    assert 0 < np.nonzero(one.any(axis=1))[0].max() < 20


@few
@given(annotations())
def test_every_kind_can_be_drawn(found: Annotation) -> None:
    picture = draw(black(found.size), found, scale=3)
    assert picture.size == (3 * found.size.width, 3 * found.size.height)


def test_frames_must_agree_and_settings_make_sense() -> None:
    with pytest.raises(AnnotationError, match="resize one of them"):
        draw(black(Size(4, 4)), Points.of([], classes=("a",), height=4, width=5))
    with pytest.raises(AnnotationError, match="0 to 1"):
        Canvas(np.zeros((4, 4, 3), dtype=np.uint8), opacity=2)
    with pytest.raises(AnnotationError, match="not a colour"):
        class_colours(("a",), {"a": "greenish"})


def test_colours_do_not_depend_on_how_many_there_are_and_stay_apart() -> None:
    many = distinct_colours(40)
    assert many[:12] == distinct_colours(12) and many[:7] == OKABE_ITO
    assert len(set(many)) == 40
    # Eyes that confuse red and green still see brightness and blue, so those must tell any two apart.
    seen = np.array(many[:16], dtype=float) @ np.array([[0.299, 0.587, 0.114], [0.0, 0.0, 1.0]]).T
    apart = np.abs(seen[:, None] - seen[None]).max(axis=-1) + 255 * np.eye(16)
    assert apart.min() > 12


def test_the_legend_shows_each_painted_class_in_its_colour() -> None:
    picture = np.asarray(legend(("background", "tree", "road"))).reshape(-1, 3)
    seen = {tuple(pixel) for pixel in picture.tolist()}
    assert tuple(OKABE_ITO[0]) in seen and tuple(OKABE_ITO[1]) in seen and tuple(OKABE_ITO[2]) not in seen
