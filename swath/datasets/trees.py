"""Data sets of trees as points."""

from __future__ import annotations

from swath.datasets.formats.point_tables import PointTables
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import PlaceSplit
from swath.imagery.bands import Unit

URBAN_TREES = DatasetSpec(
    name="urban-trees",
    title="Urban trees of Californian cities in NAIP imagery, as points",
    classes=("tree",),
    licence="CC BY 4.0 (points); imagery by the US Department of Agriculture, public domain",
    citation=(
        "Ventura et al. 2024: Individual tree detection in large-scale urban environments using "
        "high-resolution multispectral imagery. International Journal of Applied Earth Observation and "
        "Geoinformation 130"
    ),
    source="GitHub repository jonathanventura/urban-tree-detection-data: folders images and csv",
    layout=PointTables(images="images", tables="csv"),
    # A file is <city>_<year>_<number>.tif; a city's number is the same ground in every year.
    splits=PlaceSplit(
        place=r"^(?P<city>.+)_\d{4}_(?P<number>\d+)$",
        shares={"test": 0.2, "train": 0.8},
        seed=0,
        balance="city",
    ),
    bands=("red", "green", "blue", "nir"),
    unit=Unit.EIGHT_BIT,
    gsd=0.6,
)
