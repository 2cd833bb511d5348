"""Objects in FAIR1M's XML: five points a closed outline, one of 37 classes, and in predictions a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from swath.datasets.formats.object_files import ObjectFiles
from swath.datasets.formats.safe_xml import child, number_in, read_xml, words
from swath.datasets.formats.stated_objects import StatedObject, number, quadrilateral
from swath.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from swath.geometry.windows import Size


@dataclass(frozen=True, kw_only=True)
class Fair1mXml(ObjectFiles):
    """An XML file an image: `annotation/objects/object/{possibleresult/name, points/point}`.

    A point is the text `x,y`; the fifth repeats the first. Where the outline starts and how it turns are not fixed. A
    `probability`, which files of predictions have, becomes the score.

    >>> Fair1mXml.suffix
    '.xml'
    """

    suffix: ClassVar[str] = ".xml"

    def parse(self, path: Path, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the objects of a file; raise `DataError` for one that is no XML of this kind."""
        return fair1m_objects(read_xml(path), path)


def fair1m_objects(root: Element, path: object) -> list[StatedObject]:
    """Return the objects of an XML document; raise `DataError` naming the one that is wrong."""
    found = []
    for position, element in enumerate(root.findall("objects/object"), start=1):
        where = f"Object {position} of {path}"
        result = child(element, "possibleresult", where)
        points = [_point(point.text, where) for point in child(element, "points", where).findall("point")]
        found.append(
            StatedObject(
                name=words(result, "name", where),
                shape=quadrilateral([value for point in points for value in point], where),
                where=where,
                score=number_in(result, "probability", where, 1.0),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Fair1mObject:
    """A detection to be written: its class with blanks, its probability, and its corners (4, 2)."""

    name: str
    probability: float
    corners: NDArray[np.float64]


def fair1m_document(file: str, size: Size, objects: Sequence[Fair1mObject]) -> str:
    """Write the detections of an image as an XML document, points to hundredths of a pixel.

    >>> from swath.geometry.windows import Size
    >>> boat = Fair1mObject(name="Dry Cargo Ship", probability=0.9, corners=np.array([[0, 0], [4, 0], [4, 2], [0, 2]]))
    >>> text = fair1m_document("3.tif", Size(8, 8), [boat])
    >>> [line.strip() for line in text.splitlines() if "point>" in line]
    ['<point>0.00, 0.00</point>', '<point>4.00, 0.00</point>', '<point>4.00, 2.00</point>', \
'<point>0.00, 2.00</point>', '<point>0.00, 0.00</point>']
    """
    root = Element("annotation")
    _fill(root, "source", filename=file, origin="GF2/GF3")
    blank = "unknown"
    _fill(
        root, "research", version="1.0", provider=blank, author=blank, pluginname=blank, pluginclass=blank, time=blank
    )
    _fill(root, "size", width=str(size.width), height=str(size.height), depth="3")
    held = SubElement(root, "objects")
    for each in objects:
        element = _fill(held, "object", coordinate="pixel", type="rectangle", description="None")
        _fill(element, "possibleresult", name=each.name, probability=f"{each.probability:.4f}")
        points = SubElement(element, "points")
        for x, y in [*each.corners.tolist(), each.corners[0].tolist()]:
            SubElement(points, "point").text = f"{x:.2f}, {y:.2f}"
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _fill(parent: Element, tag: str, /, **texts: str) -> Element:
    element = SubElement(parent, tag)
    for key, text in texts.items():
        SubElement(element, key).text = text
    return element


def _point(text: str | None, where: str) -> list[float]:
    pieces = (text or "").split(",")
    if len(pieces) != 2:
        raise DataError(f"{where} has the point '{text or ''}', where x,y is needed; mend the file.")
    return [number(piece, f"A point of {where}") for piece in pieces]
