"""Windows, boxes, points, polygons and masks: the shapes that imagery is cut into and that models find in it.

One pixel convention holds everywhere: continuous coordinates with x to the right and y down, the centre of
the top-left pixel at (0.5, 0.5), an image covering [0, width] x [0, height]; integer windows are half-open.

>>> Window(row=0, column=0, height=2, width=2).expanded(1)
Window(row=-1, column=-1, height=4, width=4)
"""

from swath.geometry.boxes import area, box_of_mask, clip_boxes, iou_matrix, non_maximum_suppression
from swath.geometry.masks import RunLengthMask
from swath.geometry.points import merge_close_points
from swath.geometry.polygons import (
    apply_affine,
    clip_to_window,
    orient_rings,
    polygon_area,
    polygonal_part,
    polygons_of,
    repaired,
)
from swath.geometry.vectorise import LabelledPolygon, StreamingVectoriser, vectorise
from swath.geometry.windows import PlannedWindow, Size, Window, WindowPlan, plan_windows

__all__ = [
    "LabelledPolygon",
    "PlannedWindow",
    "RunLengthMask",
    "Size",
    "StreamingVectoriser",
    "Window",
    "WindowPlan",
    "apply_affine",
    "area",
    "box_of_mask",
    "clip_boxes",
    "clip_to_window",
    "iou_matrix",
    "merge_close_points",
    "non_maximum_suppression",
    "orient_rings",
    "plan_windows",
    "polygon_area",
    "polygonal_part",
    "polygons_of",
    "repaired",
    "vectorise",
]
