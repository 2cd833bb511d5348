"""Drawing: imagery with what is known about it, as a picture to look at.

>>> import numpy as np
>>> from swath.imagery.bands import Band, Unit
>>> from swath.imagery.pixels import Pixels
>>> from swath.samples.vectors import Points
>>> block = Pixels.from_array(np.zeros((1, 8, 8), np.uint8), [Band(name="red", role="red")], Unit.EIGHT_BIT)
>>> draw(block, Points.of([[4, 4]], classes=("tree",), height=8, width=8), scale=4).size
(32, 32)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from swath.errors import AnnotationError, NothingToSee
from swath.geometry.windows import Size
from swath.imagery.bands import Unit
from swath.samples.palette import RAMP, Colour, class_colours
from swath.samples.resampling import resize_nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from swath.imagery.pixels import Pixels
    from swath.samples.annotation import Annotation

INK = Colour(255, 255, 255)
SHADE = Colour(20, 20, 20)
SUPERSAMPLED_AREA = 4_000_000  # pictures up to so many pixels get smooth lines, drawn at twice their size


def display_image(
    pixels: Pixels, bands: Sequence[str] | None = None, percentiles: tuple[float, float] = (2.0, 98.0)
) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) uint8 for the eye.

    `bands` are three names or roles, or one for grey; when left out, red, green and blue where the pixels
    have them, else the first band. 8-bit imagery is shown as it is; other units are stretched between two
    percentiles of each band's valid values. Invalid pixels are black. Raises `BandMismatch` for bands that
    are not there and `NothingToSee` when no pixel is valid.

    >>> from swath.imagery.bands import Band, Unit
    >>> from swath.imagery.pixels import Pixels
    >>> height = [Band(name="height", role="height")]
    >>> block = Pixels.from_array(np.array([[[0.0, 0.5]]]), height, Unit.METRE)
    >>> display_image(block, percentiles=(0, 100))[..., 0].tolist()
    [[0, 255]]
    """
    if bands is None:
        roles = {band.role for band in pixels.bands}
        bands = ("red", "green", "blue") if {"red", "green", "blue"} <= roles else (pixels.bands[0].name,)
    if len(bands) not in (1, 3):
        raise AnnotationError(f"A picture shows one band or three; found {len(bands)}: {', '.join(bands)}.")
    chosen = pixels.select(bands)
    valid = np.isfinite(chosen.values).all(axis=0)
    if chosen.valid is not None:
        valid &= chosen.valid
    if not valid.any():
        raise NothingToSee("There is no valid pixel to show; choose another part of the scene.")
    shown = np.zeros((chosen.size.height, chosen.size.width, 3), dtype=np.uint8)
    for channel in range(3):
        values = chosen.values[channel % len(bands)]
        shown[..., channel] = np.where(valid, _stretched(values, valid, chosen.unit, percentiles), 0)
    return shown


def draw(
    pixels: Pixels,
    annotation: Annotation,
    *,
    bands: Sequence[str] | None = None,
    palette: Mapping[str, str | None] | None = None,
    opacity: float = 0.5,
    scale: float = 1,
    minimum_score: float = -math.inf,
) -> Image.Image:
    """Return a picture of the pixels with an annotation of the same frame drawn on it.

    `palette` gives colours by class name, as `"#e69f00"` or any name that Pillow knows, or None for a class
    that is not painted; other classes get colours that most people can tell apart, and
    `background` and `unchanged` none.
    `opacity` is that of filled areas, `scale` the picture's pixels a pixel. Objects below `minimum_score` are
    left out. Raises `AnnotationError` when the frames differ.
    """
    if pixels.size != annotation.size:
        raise AnnotationError(
            f"The annotation is about a frame of {annotation.size} and the image has {pixels.size}; resize one of them."
        )
    canvas = Canvas(
        display_image(pixels, bands),
        palette=palette,
        opacity=opacity,
        scale=scale,
        minimum_score=minimum_score,
    )
    annotation.draw(canvas)
    return canvas.picture()


def legend(classes: Sequence[str], *, palette: Mapping[str, str | None] | None = None) -> Image.Image:
    """Return a picture of the classes with their colours; classes that are not painted are left out.

    >>> legend(("tree", "road")).height > legend(("tree",)).height
    True
    """
    entries = [
        (name, colour)
        for name, colour in zip(classes, class_colours(tuple(classes), palette), strict=True)
        if colour is not None
    ]
    font = ImageFont.load_default(size=14)
    line, margin = 22, 8
    width = max((math.ceil(font.getlength(name)) for name, _ in entries), default=0)
    picture = Image.new("RGB", (width + 3 * margin + line, line * len(entries) + 2 * margin), "white")
    pen = ImageDraw.Draw(picture)
    for number, (name, colour) in enumerate(entries):
        top = margin + number * line
        pen.rectangle((margin, top + 3, margin + line - 4, top + line - 5), fill=colour, outline=SHADE)
        pen.text((2 * margin + line - 4, top + line / 2 - 1), name, fill=SHADE, font=font, anchor="lm")
    return picture


class Canvas:
    """A picture in the making: filled areas go on the image, lines above them, words on top.

    Coordinates are continuous pixels of the image (H, W, 3) that it is made from.

    >>> canvas = Canvas(np.zeros((8, 8, 3), np.uint8), scale=2)
    >>> canvas.caption("empty")
    >>> canvas.picture().size
    (16, 16)
    """

    def __init__(
        self,
        image: NDArray[np.uint8],
        *,
        palette: Mapping[str, str | None] | None = None,
        opacity: float = 0.5,
        scale: float = 1,
        minimum_score: float = -math.inf,
    ) -> None:
        if not 0 <= opacity <= 1 or scale <= 0:
            raise AnnotationError(f"Opacity is 0 to 1 and scale above 0; found {opacity} and {scale}.")
        self.minimum_score = minimum_score
        self._palette, self._opacity, self._scale = palette, opacity, scale
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        self._size = Size(height, width)
        self._ground = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        self._fine = 2 if self._size.area <= SUPERSAMPLED_AREA else 1
        self._lines = Image.new("RGBA", (width * self._fine, height * self._fine), (*SHADE, 0))
        self._pen = ImageDraw.Draw(self._lines)
        self._weight = max(1.4, 0.0028 * max(height, width))
        self._letter = max(10, min(18, max(height, width) // 40))
        self._font = ImageFont.load_default(size=self._letter)
        self._tags: list[tuple[float, float, str]] = []
        self._captions: list[str] = []

    def colour(self, classes: tuple[str, ...], label: int) -> Colour | None:
        """Return the colour of a class, None when it is not to be painted."""
        return class_colours(classes, self._palette)[label]

    def geometry(self, shape: BaseGeometry, colour: Colour, *, filled: bool = False) -> None:
        """Draw a shapely point as a ring, or the outline of polygons, filled if asked."""
        for part in getattr(shape, "geoms", [shape]):
            if part.is_empty:
                continue
            if part.geom_type == "Point":
                self._ring(part.x, part.y, colour)
                continue
            if filled:
                self._fill(part, colour)
            for ring in (part.exterior, *part.interiors):
                self._line(np.asarray(ring.coords), colour)

    def paint(self, labels: NDArray[Any], mask: NDArray[np.bool_], classes: tuple[str, ...]) -> None:
        """Paint the pixels of a mask (H, W) in the colours of their classes."""
        colours = class_colours(classes, self._palette)
        table = np.array([colour or SHADE for colour in colours], dtype=np.uint8)
        painted = np.array([colour is not None for colour in colours])
        safe = np.where(mask, labels, 0)
        self._blend(table[safe], mask & painted[safe])

    def paint_values(self, values: NDArray[np.float32]) -> None:
        """Paint values (H, W) from dark blue (their 2nd percentile) to yellow (their 98th)."""
        known = np.isfinite(values)
        if known.any():
            share = _stretched(values, known, Unit.UNITLESS, (2.0, 98.0))
            self._blend(RAMP[np.where(known, share, 0)], known)

    def arrow(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Draw an arrow from one place to another."""
        angle, head = math.atan2(y2 - y1, x2 - x1), min(3.0, math.hypot(x2 - x1, y2 - y1) / 2)
        wings = [(x2 - head * math.cos(angle + turn), y2 - head * math.sin(angle + turn)) for turn in (0.5, -0.5)]
        self._line(np.array([(x1, y1), (x2, y2), wings[0], (x2, y2), wings[1]]), INK)

    def tag(self, x: float, y: float, text: str) -> None:
        """Write a few words above a place."""
        self._tags.append((x * self._scale, y * self._scale, text))

    def caption(self, text: str) -> None:
        """Write a line below what was captioned before, at the top of the picture."""
        self._captions.append(text)

    def picture(self) -> Image.Image:
        """Return what was drawn so far, as an RGB picture."""
        lines = self._lines
        if self._fine > 1:
            lines = lines.resize((self._size.width, self._size.height), Image.Resampling.BOX)
        picture = Image.alpha_composite(self._ground.convert("RGBA"), lines).convert("RGB")
        pen = ImageDraw.Draw(picture)
        for x, y, text in self._tags:
            self._write(pen, x, y - self._letter - 3, text)
        top = 2.0
        for text in self._captions:
            for line in self._wrapped(text):
                self._write(pen, 3, top, line)
                top += self._letter * 1.35
        return picture

    def _fine_points(self, xy: NDArray[np.float64]) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in xy * (self._scale * self._fine)]

    def _line(self, xy: NDArray[np.float64], colour: Colour) -> None:
        points = self._fine_points(xy)
        # A dark casing keeps light lines readable on light ground.
        for ink, weight in (((*SHADE, 150), 1.9), ((*colour, 255), 1.0)):
            self._pen.line(points, fill=ink, width=max(1, round(weight * self._weight * self._fine)), joint="curve")

    def _ring(self, x: float, y: float, colour: Colour) -> None:
        (centre,) = self._fine_points(np.array([[x, y]]))
        weight = self._weight * self._fine
        for ink, radius, width in (((*SHADE, 150), 3.6, 2.2), ((*colour, 255), 3.2, 1.3)):
            self._pen.circle(centre, radius * weight, outline=ink, width=max(1, round(width * weight)))

    def _fill(self, polygon: Any, colour: Colour) -> None:
        """Mix a colour into the image inside a polygon, touching only the part around it."""
        left, top, right, bottom = (edge * self._scale for edge in polygon.bounds)
        left, top = max(0, math.floor(left)), max(0, math.floor(top))
        right, bottom = min(self._size.width, math.ceil(right)), min(self._size.height, math.ceil(bottom))
        if left >= right or top >= bottom:
            return
        size = (right - left, bottom - top)
        mask = Image.new("L", (size[0] * self._fine, size[1] * self._fine), 0)
        pen = ImageDraw.Draw(mask)
        origin = np.array([left, top]) / self._scale
        pen.polygon(self._fine_points(np.asarray(polygon.exterior.coords) - origin), fill=255)
        for hole in polygon.interiors:
            pen.polygon(self._fine_points(np.asarray(hole.coords) - origin), fill=0)
        mask = mask.resize(size, Image.Resampling.BOX).point(lambda share: round(share * self._opacity))
        self._ground.paste(colour, (left, top, right, bottom), mask)

    def _blend(self, colours: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
        """Mix colours (H, W, 3) into the image where the mask (H, W) is true."""
        share = Image.fromarray(
            resize_nearest(np.where(mask, round(255 * self._opacity), 0).astype(np.uint8), self._size)
        )
        paint = np.moveaxis(resize_nearest(np.moveaxis(colours, -1, 0), self._size), 0, -1)
        self._ground.paste(Image.fromarray(np.ascontiguousarray(paint)), mask=share)

    def _write(self, pen: ImageDraw.ImageDraw, x: float, y: float, text: str) -> None:
        width, height = self._font.getlength(text), self._letter * 1.3
        x = min(max(x, 0), max(self._size.width - width - 4, 0))
        y = min(max(y, 0), max(self._size.height - height, 0))
        pen.rectangle((x, y, x + width + 4, y + height), fill=SHADE)
        pen.text((x + 2, y + height / 2), text, fill=INK, font=self._font, anchor="lm")

    def _wrapped(self, text: str) -> list[str]:
        lines = [""]
        for word in text.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self._font.getlength(longer) > self._size.width - 8:
                lines.append(word)
            else:
                lines[-1] = longer
        return lines


def _stretched(
    values: NDArray[Any], valid: NDArray[np.bool_], unit: Unit, percentiles: tuple[float, float]
) -> NDArray[np.uint8]:
    if unit is Unit.EIGHT_BIT:
        return np.clip(np.where(valid, values, 0), 0, 255).astype(np.uint8)
    low, high = np.percentile(values[valid].astype(np.float64), percentiles)
    span = max(float(high - low), 1e-12)
    share: NDArray[np.float64] = np.clip((np.where(valid, values, low) - low) / span, 0, 1)
    return (share * 255).round().astype(np.uint8)
