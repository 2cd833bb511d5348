"""Objects in XML files of the Pascal VOC kind: upright boxes, DIOR-R's corners, roLabelImg's and HRSC2016's boxes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from swath.datasets.formats.object_files import ObjectFiles
from swath.datasets.formats.safe_xml import flag, numbers, read_xml, words
from swath.datasets.formats.stated_objects import ObjectKind, StatedObject, quadrilateral
from swath.errors import DataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    from swath.geometry.windows import Size

_UPRIGHT = ("xmin", "ymin", "xmax", "ymax")
_TURNED = ("cx", "cy", "w", "h", "angle")
_CORNERS = tuple(
    f"{axis}_{corner}" for corner in ("left_top", "right_top", "right_bottom", "left_bottom") for axis in "xy"
)


@dataclass(frozen=True, kw_only=True)
class VocXml(ObjectFiles):
    """An XML file an image: `annotation/object/{name, difficult, bndbox or robndbox}`.

    `bndbox` holds xmin, ymin, xmax, ymax. `robndbox` holds either the four corners, clockwise from the upper left, as
    in DIOR-R (whose `angle` beside it is not used), or cx, cy, w, h and angle in radians, clockwise as seen, as
    roLabelImg writes. Where an object has both, upright data sets take the first and oriented ones the second. Numbers
    are continuous pixels; with `one_based`, boxes count pixels from 1 and include the last, as VOC itself does.

    >>> from swath.datasets.formats.object_files import ObjectFolder
    >>> VocXml(folders=(ObjectFolder(images="JPEGImages", truths="Annotations"),)).described()
    'JPEGImages with Annotations/*.xml'
    """

    suffix: ClassVar[str] = ".xml"
    one_based: bool = False

    def parse(self, path: Path, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the objects of a file; raise `DataError` for one that is no XML of this kind."""
        found = []
        for position, element in enumerate(read_xml(path).findall("object"), start=1):
            where = f"Object {position} of {path}"
            found.append(
                StatedObject(
                    name=words(element, "name", where),
                    shape=self._shape(element, where),
                    where=where,
                    ignored=flag(element, "difficult"),
                )
            )
        return found

    def _shape(self, element: Element, where: str) -> NDArray[np.float64]:
        upright, turned = element.find("bndbox"), element.find("robndbox")
        if upright is not None and (turned is None or self.rules.kind is ObjectKind.UPRIGHT):
            box = np.array(numbers(upright, _UPRIGHT, where))
            return box - [1, 1, 0, 0] if self.one_based else box
        if turned is None:
            raise DataError(f"{where} has neither <bndbox> nor <robndbox>; mend the file.")
        if turned.find("cx") is not None:
            return np.array(numbers(turned, _TURNED, where))
        return quadrilateral(numbers(turned, _CORNERS, where), where)


@dataclass(frozen=True, kw_only=True)
class HrscXml(ObjectFiles):
    """HRSC2016's XML: `HRSC_Image/HRSC_Objects/HRSC_Object` with an upright box and one at any angle.

    The class is `Class_ID`, a number of nine digits that the data set's aliases name. `box_xmin` and so on are the
    upright box; `mbox_cx`, `mbox_cy`, `mbox_w`, `mbox_h` and `mbox_ang` (radians, clockwise as seen) the other.

    >>> HrscXml.suffix
    '.xml'
    """

    suffix: ClassVar[str] = ".xml"

    def parse(self, path: Path, size: Size) -> list[StatedObject]:  # noqa: ARG002 (one signature)
        """Return the objects of a file; raise `DataError` for one that is no XML of this kind."""
        oriented = self.rules.kind is ObjectKind.ORIENTED
        fields = tuple(f"mbox_{name}" for name in ("cx", "cy", "w", "h", "ang")) if oriented else _HRSC_UPRIGHT
        found = []
        for position, element in enumerate(read_xml(path).findall("HRSC_Objects/HRSC_Object"), start=1):
            where = f"Object {position} of {path}"
            found.append(
                StatedObject(
                    name=words(element, "Class_ID", where),
                    shape=np.array(numbers(element, fields, where)),
                    where=where,
                    ignored=flag(element, "difficult"),
                )
            )
        return found


_HRSC_UPRIGHT = tuple(f"box_{name}" for name in _UPRIGHT)
