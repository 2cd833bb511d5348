"""Data sets of scene classification: one class an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from swath.datasets.formats.class_folders import ClassFolders, class_folders
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import ListSplit, PerClassFractionSplit, RecordedSplit, SeededSplit, SplitRule
from swath.datasets.statistics import BandStatistics
from swath.errors import ConfigurationError
from swath.imagery.bands import Unit
from swath.samples.nomenclature import EUROSAT_CLASSES

EUROSAT_RGB = DatasetSpec(
    name="eurosat",
    title="EuroSAT RGB: land use and land cover of Europe in 64-pixel Sentinel-2 chips",
    classes=EUROSAT_CLASSES,
    licence="MIT (EuroSAT); Sentinel-2 data free and open (Copernicus)",
    citation=(
        "Helber et al. 2019: EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land "
        "Cover Classification. IEEE JSTARS 12(7)"
    ),
    source="GitHub repository phelber/EuroSAT: archive EuroSAT_RGB",
    layout=ClassFolders(),
    splits=SeededSplit(shares={"train": 0.8, "test": 0.2}, seed=0),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=10.0,
)

_UC_MERCED_ORDER = """
    harbor parkinglot buildings mediumresidential sparseresidential forest agricultural overpass
    golfcourse freeway baseballdiamond beach intersection runway mobilehomepark chaparral airplane river
    storagetanks tenniscourt denseresidential
"""
_AID_ORDER = """
    Port Square River Pond Playground Mountain Park Airport SparseResidential Stadium Industrial Church
    DenseResidential Parking Farmland Desert Viaduct Forest StorageTanks Center Meadow MediumResidential
    School BareLand Commercial BaseballField RailwayStation Resort Bridge Beach
"""
_RESISC45_ORDER = """
    river terrace snowberg stadium parking_lot thermal_power_station rectangular_farmland cloud
    intersection meadow palace ground_track_field commercial_area beach church baseball_diamond ship
    industrial_area bridge freeway medium_residential circular_farmland mobile_home_park railway forest
    sparse_residential harbor wetland mountain airport golf_course overpass dense_residential chaparral
    basketball_court airplane tennis_court runway storage_tank island railway_station lake sea_ice desert
    roundabout
"""

RSMAMBA_CLASSES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "uc-merced": tuple(_UC_MERCED_ORDER.split()),
        "aid": tuple(_AID_ORDER.split()),
        "nwpu-resisc45": tuple(_RESISC45_ORDER.split()),
    }
)
"""The class orders of RSMamba's published weights, by data set; they come from a shuffled list of folders."""

RSMAMBA_STATISTICS: Mapping[str, BandStatistics] = MappingProxyType(
    {
        "uc-merced": BandStatistics(
            mean=(123.770241, 125.41281689, 115.35737613), std=(44.17314347, 41.63589266, 39.5737929)
        ),
        "aid": BandStatistics(
            mean=(101.02608706, 103.9996994, 93.50157708), std=(40.36728927, 37.11132278, 35.90649976)
        ),
        "nwpu-resisc45": BandStatistics(
            mean=(93.847266, 97.20128819, 87.66547902), std=(37.10216765, 34.61650149, 33.70191772)
        ),
    }
)
"""RSMamba's statistics of red, green and blue, 0 to 255: means of per-image means and standard deviations."""

UC_MERCED = DatasetSpec(
    name="uc-merced",
    title="UC Merced Land Use: 21 classes of 100 aerial images, 256 pixels a side",
    classes=tuple(sorted(RSMAMBA_CLASSES["uc-merced"])),
    licence="imagery of the US Geological Survey, public domain",
    citation=(
        "Yang and Newsam 2010: Bag-of-Visual-Words and Spatial Extensions for Land-Use Classification. "
        "ACM SIGSPATIAL GIS"
    ),
    source="University of California, Merced: archive UCMerced_LandUse, folder Images (TIFF; JPEG copies do too)",
    layout=ClassFolders(),
    splits=SeededSplit(shares={"train": 0.8, "test": 0.2}, seed=0),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=0.3048,
)

AID = DatasetSpec(
    name="aid",
    title="AID: 30 classes of 220 to 420 Google Earth images, 600 pixels a side, 0.5 to 8 m",
    classes=tuple(sorted(RSMAMBA_CLASSES["aid"])),
    licence="academic use; images from Google Earth",
    citation=(
        "Xia et al. 2017: AID: A Benchmark Data Set for Performance Evaluation of Aerial Scene "
        "Classification. IEEE TGRS 55(7)"
    ),
    source="Wuhan University: archive AID",
    layout=ClassFolders(),
    splits=PerClassFractionSplit(fraction=0.5),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=None,
)

NWPU_RESISC45 = DatasetSpec(
    name="nwpu-resisc45",
    title="NWPU-RESISC45: 45 classes of 700 Google Earth images, 256 pixels a side, 0.2 to 30 m",
    classes=tuple(sorted(RSMAMBA_CLASSES["nwpu-resisc45"])),
    licence="none stated; research use with citation, images from Google Earth",
    citation=(
        "Cheng, Han and Lu 2017: Remote Sensing Image Scene Classification: Benchmark and State of the Art. "
        "Proceedings of the IEEE 105(10)"
    ),
    source="Northwestern Polytechnical University: archive NWPU-RESISC45",
    layout=ClassFolders(),
    splits=PerClassFractionSplit(fraction=0.7),
    bands=("red", "green", "blue"),
    unit=Unit.EIGHT_BIT,
    gsd=None,
)


RESISC45_STATISTICS = BandStatistics(
    mean=(93.89391792, 97.11226906, 87.56775284), std=(51.84919672, 47.2365918, 47.06308786)
)
"""Of red, green and blue over TorchGeo's training part, 0 to 255, all pixels alike."""

_UC_MERCED_STATISTICS = BandStatistics(mean=(122.604, 124.085, 114.217), std=(55.807, 51.790, 50.001))


def published_lists(name: str, *, train: int, validation: int, test: int) -> dict[str, Any]:
    """Return split and counts of a data set under TorchGeo's lists, `<name>-train.txt`, `-val` and `-test`.

    The lists lie in the data set's folder or the one above it. They are those of Neumann et al. 2019
    (In-domain representation learning for remote sensing, arXiv 1911.06721): 60 %, 20 % and 20 %. The names
    of the files of EuroSAT and UC Merced are recalled.

    >>> published_lists("uc_merced", train=1_260, validation=420, test=420)["splits"].files["validation"]
    'uc_merced-val.txt'
    """
    files = {
        part: f"{name}-{short}.txt" for part, short in (("train", "train"), ("validation", "val"), ("test", "test"))
    }
    return {
        "splits": ListSplit(files=files, by_name=True),
        "counts": {"train": train, "validation": validation, "test": test},
    }


EUROSAT_RGB_TORCHGEO = replace(
    EUROSAT_RGB, name="eurosat-torchgeo", **published_lists("eurosat", train=16_200, validation=5_400, test=5_400)
)
UC_MERCED_TORCHGEO = replace(
    UC_MERCED,
    name="uc-merced-torchgeo",
    statistics={"image": _UC_MERCED_STATISTICS},
    **published_lists("uc_merced", train=1_260, validation=420, test=420),
)
UC_MERCED_70 = replace(
    UC_MERCED,
    name="uc-merced-70",
    title=f"{UC_MERCED.title}; 70 % of each class to train, as in RSMamba",
    splits=PerClassFractionSplit(fraction=0.7),
)


def _resisc45(suffix: str, what: str, splits: SplitRule, **changes: Any) -> DatasetSpec:
    return replace(
        NWPU_RESISC45, name=f"nwpu-resisc45-{suffix}", title=f"{NWPU_RESISC45.title}; {what}", splits=splits, **changes
    )


NWPU_RESISC45_10 = _resisc45(
    "10",
    "10 % of each class to train",
    PerClassFractionSplit(fraction=0.1),
    counts={"train": 3_150, "test": 28_350},
)
NWPU_RESISC45_20 = _resisc45(
    "20",
    "20 % of each class to train",
    PerClassFractionSplit(fraction=0.2),
    counts={"train": 6_300, "test": 25_200},
)
NWPU_RESISC45_TORCHGEO = _resisc45(
    "torchgeo",
    "TorchGeo's lists resisc45-*.txt",
    statistics={"image": RESISC45_STATISTICS},
    **published_lists("resisc45", train=18_900, validation=6_300, test=6_300),
)
NWPU_RESISC45_SMARTIES = _resisc45(
    "smarties",
    "SMARTIES' lists, put beside the images as train.txt and val.txt",
    ListSplit(files={"train": "train.txt", "test": "val.txt"}, by_name=True),
    counts={"train": 25_200, "test": 6_300},
)
NWPU_RESISC45_RSMAMBA = _resisc45(
    "rsmamba",
    "RSMamba's lists, put beside the images as train.txt and val.txt",
    ListSplit(files={"train": "train.txt", "test": "val.txt"}, by_name=True),
    counts={"train": 22_005, "test": 9_495},
)
NWPU_RESISC45_LWGANET = _resisc45(
    "lwganet",
    "80 % of each class to train in the folder train, the others in val",
    RecordedSplit(names=("train", "test")),
    layout=ClassFolders(parts={"train": "train", "test": "val"}),
    counts={"train": 25_200, "test": 6_300},
)

SCENE_VARIANTS = (
    EUROSAT_RGB_TORCHGEO,
    UC_MERCED_70,
    UC_MERCED_TORCHGEO,
    NWPU_RESISC45_10,
    NWPU_RESISC45_20,
    NWPU_RESISC45_TORCHGEO,
    NWPU_RESISC45_SMARTIES,
    NWPU_RESISC45_RSMAMBA,
    NWPU_RESISC45_LWGANET,
)
"""The same images under the other splits that are published; figures under different splits do not compare."""


def drawn_again(spec: DatasetSpec, seed: int) -> DatasetSpec:
    """Return a data set whose split is drawn by chance under another seed, for protocols that repeat the draw.

    >>> drawn_again(NWPU_RESISC45_10, 3).splits
    PerClassFractionSplit(fraction=0.1, seed=3)
    """
    if not isinstance(spec.splits, PerClassFractionSplit | SeededSplit):
        raise ConfigurationError(f"The split of '{spec.name}' is not drawn by chance; it has one draw alone.")
    return replace(spec, splits=replace(spec.splits, seed=seed))


def with_rsmamba_classes(spec: DatasetSpec) -> DatasetSpec:
    """Return a scene data set with the class order of RSMamba's weights; raise `KeyError` where it has none.

    >>> with_rsmamba_classes(UC_MERCED).classes[:2]
    ('harbor', 'parkinglot')
    """
    return replace(spec, classes=RSMAMBA_CLASSES[spec.name])


def folder_dataset(root: str | Path) -> DatasetSpec:
    """Declare a folder of class folders of 8-bit RGB images as a data set, its classes by folder name.

    Every fifth image of a class is for testing, by chance. Raises `DataError` where there are no class
    folders.
    """
    folder = Path(root)
    return DatasetSpec(
        name=folder.resolve().name,
        title=f"the class folders in {folder.name}",
        classes=tuple(path.name for path in class_folders(folder)),
        licence="not stated",
        citation="not stated",
        source=f"the folder {folder.name}",
        layout=ClassFolders(),
        splits=SeededSplit(shares={"train": 0.8, "test": 0.2}, seed=0),
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        gsd=None,
    )
