"""Instances: objects with a mask each, and the joining of those that a window seam has cut.

>>> roof = np.zeros((8, 8), np.bool_)
>>> roof[2:4, 1:6] = True
>>> found = Instances(size=Size(8, 8), masks=[roof], classes=("building",))
>>> found.boxes.tolist(), found.rotate90().boxes.tolist()
([[1.0, 2.0, 6.0, 4.0]], [[2.0, 2.0, 4.0, 7.0]])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import shapely

from swath.errors import AnnotationError
from swath.geometry.boxes import clip_boxes
from swath.geometry.masks import RunLengthMask
from swath.geometry.vectorise import vectorise
from swath.geometry.windows import Size
from swath.samples.annotation import as_array
from swath.samples.mask_patches import MaskPatch, move_mask, union_of
from swath.samples.moves import Rotate
from swath.samples.objects import MergeRule, Objects, absent, suppress
from swath.samples.vectors import check_boxes, map_boxes, middles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from swath.geometry.windows import Window
    from swath.samples.moves import Move


@dataclass(frozen=True, kw_only=True, eq=False)
class Instances(Objects):
    """Objects with a mask each: `masks`, run-length masks of the whole frame, or arrays (H, W) to be packed.

    `boxes` (N, 4) float32 are those of the masks when left out. A crop drops the instances of whose mask
    nothing is left and cuts the boxes; after a rotation by any angle the boxes are those of the masks.

    >>> len(Instances(size=Size(8, 8), masks=[np.eye(8)], classes=("road",)).pad(left=2))
    1
    """

    boxes: NDArray[np.float32] = field(default_factory=absent)
    masks: tuple[RunLengthMask, ...]
    per_object: ClassVar[tuple[str, ...]] = ("boxes", "masks", *Objects.per_object)
    filled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        masks = tuple(
            mask if isinstance(mask, RunLengthMask) else RunLengthMask.encode(np.asarray(mask)) for mask in self.masks
        )
        for mask in masks:
            if mask.size != self.size:
                raise AnnotationError(f"Every mask needs the frame {self.size}; found one of {mask.size}.")
        boxes = _boxes_of(masks) if self.boxes is absent() else self.boxes
        boxes = as_array(boxes, (len(masks), 4), np.float32, f"The boxes of {len(masks)} instances")
        check_boxes(boxes)
        self._set(masks=masks, boxes=boxes)
        self._check_objects(len(masks))

    @property
    def places(self) -> NDArray[np.float32]:
        """The boxes, (N, 4)."""
        return self.boxes

    def centres(self) -> NDArray[np.float32]:
        """Return the middle of each box, (N, 2)."""
        return middles(self.boxes)

    def moved(self, move: Move) -> Self:
        """Return the instances after a move of their frame, without those of which nothing is left."""
        size = move.size_after(self.size)
        masks = tuple(move_mask(mask, move) for mask in self.masks)
        if isinstance(move, Rotate):
            boxes = _boxes_of(masks)
        else:
            boxes = clip_boxes(map_boxes(self.boxes, move.affine(self.size)), size).astype(np.float32)
        there = replace(self, size=size, masks=masks, boxes=boxes)
        return there.select(np.array([mask.area > 0 for mask in masks], dtype=np.bool_)) if move.loses else there

    def merge_overlaps(self, rule: MergeRule) -> NDArray[np.int64]:
        """Return the instances to keep after suppression at `rule.iou` of their masks, best score first."""
        extents = shapely.box(*_boxes_of(self.masks).T)

        def iou(one: int, other: int) -> float:
            return self.masks[one].iou(self.masks[other])

        return suppress(self.scores, self._merge_labels(rule), extents, iou, rule.iou)

    @classmethod
    def join_touching(cls, parts: Sequence[Self], windows: Sequence[Window], *, iou: float = 0.5) -> Self:
        """Put together the instances of overlapping windows, joining those that a seam has cut.

        `parts` are the instances of each window, all in the scene's frame. Two of the same class from
        different windows are one when their masks agree in the strip that the windows share: intersection
        over union of what lies in the strip is at least `iou`. They become their union, with the best score
        among them; a chain of such pairs becomes one instance. The order is that of the first member of each.
        """
        if len(parts) != len(windows):
            raise AnnotationError(f"Each part needs its window; found {len(parts)} parts and {len(windows)} windows.")
        everything = cls.concatenate(parts)
        patches = [MaskPatch.of(mask) for mask in everything.masks]
        origin = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        group = np.arange(len(patches))
        tree: Any = shapely.STRtree(shapely.box(*_boxes_of(everything.masks).T))
        for first, second in tree.query(tree.geometries).T if len(patches) else ():
            if first >= second or origin[first] == origin[second]:
                continue
            strip = windows[origin[first]].intersection(windows[origin[second]])
            if strip is None or everything.labels[first] != everything.labels[second]:
                continue
            shared = patches[first].shared_area(patches[second])
            either = patches[first].area_in(strip) + patches[second].area_in(strip) - shared
            if shared and shared >= iou * either:
                group[group == group[second]] = group[first]
        return everything._joined(patches, group)

    def outlines(self) -> Iterator[BaseGeometry]:
        """Yield each mask as a polygon, or as a multi-polygon where it falls apart."""
        for mask in self.masks:
            patch = MaskPatch.of(mask)
            areas = vectorise(patch.bits, ignore=(0,)) if patch.bits.size else []
            offset = np.array([patch.window.column, patch.window.row], dtype=np.float64)
            polygons = [shapely.transform(area.polygon, lambda xy, offset=offset: xy + offset) for area in areas]
            yield (polygons[0] if len(polygons) == 1 else shapely.multipolygons(np.array(polygons, dtype=object)))

    def _joined(self, patches: Sequence[MaskPatch], group: NDArray[np.int64]) -> Self:
        members = [np.flatnonzero(group == number).tolist() for number in dict.fromkeys(group.tolist())]
        masks = tuple(union_of([patches[i] for i in of_one]).encoded(self.size) for of_one in members)
        low = [self.boxes[of_one, :2].min(axis=0) for of_one in members]
        high = [self.boxes[of_one, 2:].max(axis=0) for of_one in members]
        return replace(
            self,
            masks=masks,
            boxes=np.concatenate([low, high], axis=1) if members else self.boxes,
            labels=self.labels[[of_one[0] for of_one in members]],
            scores=np.array([self.scores[of_one].max() for of_one in members], dtype=np.float32),
            ignored=np.array([self.ignored[of_one].any() for of_one in members], dtype=np.bool_),
        )

    @classmethod
    def _encoded(cls, name: str, value: Any) -> Any:
        if name == "masks":
            return [{"size": [m.size.height, m.size.width], "counts": m.to_coco_string()} for m in value]
        return super()._encoded(name, value)

    @classmethod
    def _decoded(cls, name: str, value: Any) -> Any:
        if name == "masks":
            return tuple(RunLengthMask.from_coco_string(Size(*item["size"]), item["counts"]) for item in value)
        return super()._decoded(name, value)


def _boxes_of(masks: Sequence[RunLengthMask]) -> NDArray[np.float32]:
    return np.array([mask.box for mask in masks], dtype=np.float32).reshape(len(masks), 4)
