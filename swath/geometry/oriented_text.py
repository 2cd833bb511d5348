"""Oriented boxes as the text that language models write, to and from the convention in `oriented`.

GeoChat (arXiv 2311.15826) writes `{<x1><y1><x2><y2>|<angle>}`, GeoGround (arXiv 2411.11904)
`<obb>[[x,y,width,height,angle]]</obb>`, both in hundredths of the image and degrees. They
round to whole numbers, so that the numbers of a box come back to within half a hundredth and half a degree.

>>> from swath.geometry.windows import Size
>>> to_geochat_text([[204.8, 256.0, 204.8, 409.6, -np.pi / 6]], Size(512, 512))
'{<20><10><60><90>|<30>}'
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

from swath.errors import GeometryError
from swath.geometry.oriented import as_oriented_boxes, normal_angles
from swath.geometry.oriented_conventions import QUARTER_TURN, without_quarter_turns
from swath.geometry.windows import Size

GRID = 100
"""Steps of the texts from one edge of the image to the other."""

_NUMBER = r"-?\d+(?:\.\d+)?"
_BRACES = re.compile(r"\{([^{}]*)\}")
_GEOCHAT = re.compile(rf"((?:<{_NUMBER}>){{4}})(?:\|<({_NUMBER})>)?")
_OBB = re.compile(r"<obb>(.*?)</obb>", re.DOTALL)
_LIST = re.compile(r"\[([^\[\]]*)\]")


def to_geochat_text(boxes: ArrayLike, size: Size) -> str:
    """Text of boxes (N, 5) in an image of that size as GeoChat writes it, joined by `<delim>`.

    x1 = 100 (x - width / 2) / image width and so on: the box before it is turned, in hundredths. It is then
    turned about its centre by an angle of 0 to 90 degrees counter-clockwise as seen; where that asks for it,
    width and height change places. The sense is that of GeoChat's drawing code (`cv2.getRotationMatrix2D`); its
    helper `bbox_and_angle_to_polygon`, which nothing calls, turns the other way.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> to_geochat_text([[2, 1, 4, 2, -np.pi / 4], [5, 5, 2, 2, 0]], Size(10, 10))
    '{<0><0><40><20>|<45>}<delim>{<40><40><60><60>|<0>}'
    """
    checked = as_oriented_boxes(boxes)
    # From above -90 degrees to 0, clockwise, which is 0 to below 90 the other way.
    turned = without_quarter_turns(checked, np.ceil(checked[:, 4] / QUARTER_TURN))
    start = (turned[:, :2] - turned[:, 2:4] / 2) / (size.width, size.height)
    stop = (turned[:, :2] + turned[:, 2:4] / 2) / (size.width, size.height)
    places = _whole(np.concatenate([start, stop], axis=1) * GRID)
    degrees = _whole(-np.degrees(turned[:, 4]))
    texts = (
        "{" + "".join(f"<{place}>" for place in row) + f"|<{angle}>" + "}"
        for row, angle in zip(places, degrees, strict=True)
    )
    return "<delim>".join(texts)


def from_geochat_text(text: str, size: Size) -> NDArray[np.float64]:
    """Boxes (N, 5) from all `{...}` in a text of GeoChat about an image of that size, in order.

    Boxes without `|<angle>` are upright. Words between the boxes do no harm, and a box cut short at the end of
    the text is left out. Raises `GeometryError` for braces with other content, corners in the wrong order and
    an angle beyond a full turn.

    >>> from_geochat_text("<p>a quay</p>{<20><10><60><90>|<30>} and {<9><9", Size(512, 512)).round(2).tolist()
    [[204.8, 256.0, 204.8, 409.6, -0.52]]
    """
    rows: list[tuple[float, ...]] = []
    for content in _BRACES.findall(text):
        found = _GEOCHAT.fullmatch(content)
        if found is None:
            raise GeometryError(
                f"GeoChat writes a box as {{<x1><y1><x2><y2>|<angle>}}, with or without the angle; found {{{content}}}."
            )
        x1, y1, x2, y2 = (float(number) / GRID for number in re.findall(_NUMBER, found[1]))
        if x2 < x1 or y2 < y1:
            raise GeometryError(f"A box of GeoChat has x1 <= x2 and y1 <= y2; found {{{content}}}.")
        middle = ((x1 + x2) / 2 * size.width, (y1 + y2) / 2 * size.height)
        sides = ((x2 - x1) * size.width, (y2 - y1) * size.height)
        rows.append((*middle, *sides, -_radians(found[2] or "0", content)))
    return _boxes(rows)


def to_geoground_text(boxes: ArrayLike, size: Size) -> str:
    """Text of boxes (N, 5) in an image of that size as GeoGround writes it: `<obb>[[x,y,width,height,angle]]</obb>`.

    Centre in hundredths of the image's width and height, sides in hundredths of their mean (GeoGround's images
    are square for nearly all of its data, and how it writes sides in others is not published), and the angle in
    degrees, from 0 to 90 clockwise as `cv2.minAreaRect` gives it, which is our reading of an open point.

    Raises `GeometryError` as `as_oriented_boxes` does.

    >>> to_geoground_text([[20, 19, 2, 10, np.radians(52)]], Size(100, 100))
    '<obb>[[20,19,2,10,52]]</obb>'
    """
    checked = as_oriented_boxes(boxes)
    turned = without_quarter_turns(checked, np.floor(checked[:, 4] / QUARTER_TURN))
    numbers = np.column_stack([turned[:, :4] / _scale(size) * GRID, np.degrees(turned[:, 4])])
    return "<obb>[" + ", ".join(f"[{','.join(map(str, row))}]" for row in _whole(numbers)) + "]</obb>"


def from_geoground_text(text: str, size: Size) -> NDArray[np.float64]:
    """Boxes (N, 5) from all `<obb>...</obb>` in a text of GeoGround about an image of that size, in order.

    Blanks are free, and a tag cut short at the end is left out. Raises `GeometryError` for other than five
    numbers, a negative side and an angle beyond a full turn.

    >>> from_geoground_text("<obb>[[20, 19, 2, 10, 90]]</obb>", Size(100, 100)).round(4).tolist()
    [[20.0, 19.0, 2.0, 10.0, -1.5708]]
    """
    rows: list[tuple[float, ...]] = []
    for tag in _OBB.findall(text):
        for content in filter(str.strip, _LIST.findall(tag)):
            numbers = content.split(",")
            if len(numbers) != 5 or not all(re.fullmatch(_NUMBER, number.strip()) for number in numbers):
                raise GeometryError(f"GeoGround writes a box as [x,y,width,height,angle]; found [{content}].")
            places = np.array([float(number) for number in numbers[:4]]) / GRID * _scale(size)
            rows.append((*places.tolist(), _radians(numbers[4], content)))
    return _boxes(rows)


def _whole(numbers: NDArray[np.float64]) -> list[list[int]]:
    whole: list[list[int]] = np.rint(numbers).astype(np.int64).tolist()
    return whole


def _scale(size: Size) -> tuple[float, float, float, float]:
    mean = (size.width + size.height) / 2
    return (size.width, size.height, mean, mean)


def _radians(degrees: str, content: str) -> float:
    if abs(float(degrees)) > 360:
        raise GeometryError(f"A box is turned by at most 360 degrees; found {degrees.strip()} in '{content}'.")
    return math.radians(float(degrees))


def _boxes(rows: list[tuple[float, ...]]) -> NDArray[np.float64]:
    boxes = as_oriented_boxes(rows, "Boxes in text")
    boxes[:, 4] = normal_angles(boxes[:, 4])
    return boxes
