"""FireRisk: the wildfire hazard of places in the USA, told from aerial images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from swath.datasets.formats.class_folders import ClassFolders
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import DividedPart, RecordedSplit
from swath.errors import DataError
from swath.imagery.bands import Unit

FIRERISK_CODES: Mapping[int, str] = MappingProxyType(
    {
        1: "Very_Low",
        2: "Low",
        3: "Moderate",
        4: "High",
        5: "Very_High",
        6: "Non-burnable",
        7: "Water",
    }
)
"""The classes by their code in the Wildfire Hazard Potential raster and in file names, in the order of risk."""

FIRERISK = DatasetSpec(
    name="firerisk",
    title="FireRisk: 7 levels of wildfire hazard in NAIP images of 270 m",
    classes=("High", "Low", "Moderate", "Non-burnable", "Very_High", "Very_Low", "Water"),
    licence="none stated; imagery by the US Department of Agriculture and hazard map by its Forest Service, public",
    citation=(
        "Shen et al. 2023: FireRisk: A Remote Sensing Dataset for Fire Risk Assessment with Benchmarks Using "
        "Supervised and Self-supervised Learning. DICTA; arXiv 2303.07035"
    ),
    source="GitHub repository CharmonyShen/FireRisk: archive FireRisk with train and val; no list of the subsets",
    layout=ClassFolders(parts={"train": "train", "validation": "val"}),
    # There is no test part: the published figures are of the part by which the best epoch was chosen.
    splits=RecordedSplit(names=("train", "validation")),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=1.0,
    counts={"train": 70_331, "validation": 21_541},
)
"""Images are 270 or 320 pixels a side, as the copies differ. The classes stand in the alphabetical order of the
folders; `FIRERISK_CODES` has the order of risk."""


def firerisk_share(percent: int) -> DatasetSpec:
    """Return FireRisk with a share of its training part, drawn by chance, and the whole other part.

    >>> firerisk_share(20).counts["train"]
    14066
    """
    share = percent / 100
    return replace(
        FIRERISK,
        name=f"firerisk-{percent}",
        title=f"{FIRERISK.title}; {percent} % of the training part",
        splits=DividedPart(rule=FIRERISK.splits, part="train", shares={"train": share}),
        counts={"train": int(FIRERISK.counts["train"] * share + 0.5), "validation": FIRERISK.counts["validation"]},
    )


FIRERISK_50, FIRERISK_20 = firerisk_share(50), firerisk_share(20)


@dataclass(frozen=True, kw_only=True, slots=True)
class FireRiskName:
    """What a file of FireRisk says by its name: the point, its class, and where it lies (degrees, WGS 84)."""

    point: int
    risk: str
    longitude: float
    latitude: float


def parse_firerisk_name(name: str) -> FireRiskName:
    """Read `<point>_<code>_<longitude>_<latitude>.png`; raise `DataError` for a name of another form.

    >>> parse_firerisk_name("123_6_-120.5_38.25.png").risk
    'Non-burnable'
    """
    number = r"-?\d+(?:\.\d+)?"
    form = rf"(\d+)_([1-7])_({number})_({number})\.(?:png|jpe?g|tiff?)"
    found = re.fullmatch(form, PurePosixPath(name).name)
    longitude, latitude = (float(found[3]), float(found[4])) if found else (0.0, 0.0)
    if found is None or abs(longitude) > 180 or abs(latitude) > 90:
        raise DataError(
            f"The name '{name}' is not of the form POINT_CODE_LONGITUDE_LATITUDE.png with a code of 1 to 7; "
            "rename the file, or leave it out."
        )
    return FireRiskName(point=int(found[1]), risk=FIRERISK_CODES[int(found[2])], longitude=longitude, latitude=latitude)
