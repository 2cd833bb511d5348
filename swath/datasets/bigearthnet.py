"""BigEarthNet: patches of Sentinel-2 over ten European countries, with all the CORINE classes that hold."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from swath.datasets.formats.band_folders import BandFolders
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import FirstSplit, ListSplit, RecordedSplit
from swath.datasets.statistics import BandStatistics
from swath.imagery.bands import Unit
from swath.imagery.sensors import SENTINEL_2_L2A

_FARMED = "Land principally occupied by agriculture, with significant areas of natural vegetation"
_SPARSE = "Natural grassland and sparsely vegetated areas"
_MOORS = "Moors, heathland and sclerophyllous vegetation"
_GROUPS = {
    "Continuous urban fabric": "Urban fabric",
    "Discontinuous urban fabric": "Urban fabric",
    "Industrial or commercial units": "Industrial or commercial units",
    "Road and rail networks and associated land": "",
    "Port areas": "",
    "Airports": "",
    "Mineral extraction sites": "",
    "Dump sites": "",
    "Construction sites": "",
    "Green urban areas": "",
    "Sport and leisure facilities": "",
    "Non-irrigated arable land": "Arable land",
    "Permanently irrigated land": "Arable land",
    "Rice fields": "Arable land",
    "Vineyards": "Permanent crops",
    "Fruit trees and berry plantations": "Permanent crops",
    "Olive groves": "Permanent crops",
    "Pastures": "Pastures",
    "Annual crops associated with permanent crops": "Permanent crops",
    "Complex cultivation patterns": "Complex cultivation patterns",
    _FARMED: _FARMED,
    "Agro-forestry areas": "Agro-forestry areas",
    "Broad-leaved forest": "Broad-leaved forest",
    "Coniferous forest": "Coniferous forest",
    "Mixed forest": "Mixed forest",
    "Natural grassland": _SPARSE,
    "Moors and heathland": _MOORS,
    "Sclerophyllous vegetation": _MOORS,
    "Transitional woodland/shrub": "Transitional woodland, shrub",
    "Beaches, dunes, sands": "Beaches, dunes, sands",
    "Bare rock": "",
    "Sparsely vegetated areas": _SPARSE,
    "Burnt areas": "",
    "Inland marshes": "Inland wetlands",
    "Peatbogs": "Inland wetlands",
    "Salt marshes": "Coastal wetlands",
    "Salines": "Coastal wetlands",
    "Intertidal flats": "",
    "Water courses": "Inland waters",
    "Water bodies": "Inland waters",
    "Coastal lagoons": "Marine waters",
    "Estuaries": "Marine waters",
    "Sea and ocean": "Marine waters",
}

BIGEARTHNET_GROUPS = MappingProxyType(_GROUPS)
"""The 43 classes of version 1, in the authors' order, each with its group of the 19, or nothing where it has none."""

BIGEARTHNET_CLASSES = (
    "Urban fabric",
    "Industrial or commercial units",
    "Arable land",
    "Permanent crops",
    "Pastures",
    "Complex cultivation patterns",
    _FARMED,
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    _SPARSE,
    _MOORS,
    "Transitional woodland, shrub",
    "Beaches, dunes, sands",
    "Inland wetlands",
    "Coastal wetlands",
    "Inland waters",
    "Marine waters",
)
"""The 19 classes in the usual order."""

_BAND_FILES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
_FOLDERS = ("*", "BigEarthNet-v1.0/*")


def _lists(prefix: str) -> ListSplit:
    files = {"train": f"{prefix}train.csv", "validation": f"{prefix}val.csv", "test": f"{prefix}test.csv"}
    return ListSplit(files=files, by_name=True)


BIGEARTHNET_S2 = DatasetSpec(
    name="bigearthnet-s2",
    title="BigEarthNet-S2 version 1: Sentinel-2 patches of 1.2 km with 12 bands, several of 19 classes each",
    classes=BIGEARTHNET_CLASSES,
    licence="CDLA-Permissive-1.0",
    citation=(
        "Sumbul et al. 2019: BigEarthNet: A Large-Scale Benchmark Archive for Remote Sensing Image Understanding. "
        "IGARSS; Sumbul et al. 2021: BigEarthNet-MM. IEEE GRSM 9(3)"
    ),
    source="bigearth.net: archive BigEarthNet-v1.0; the parts' lists (train.csv, val.csv, test.csv) [recalled]",
    layout=BandFolders(folders=_FOLDERS, bands=_BAND_FILES, groups=_GROUPS),
    # TorchGeo names the lists after the data set.
    splits=FirstSplit((_lists("bigearthnet-"), _lists(""))),
    bands=tuple(SENTINEL_2_L2A.band(name).role for name in _BAND_FILES),
    unit=Unit.DN,
    gsd=10.0,
    sensor=SENTINEL_2_L2A,
    statistics={
        "image": BandStatistics(
            mean=(
                *(340.768, 429.943, 614.217, 590.236, 950.684, 1792.463),
                *(2075.468, 2218.946, 2266.460, 2246.061, 1594.427, 1009.327),
            ),
            std=(
                *(554.813, 572.416, 582.879, 675.887, 729.898, 1096.015),
                *(1273.454, 1365.456, 1356.138, 1302.329, 1079.191, 818.867),
            ),
        )
    },
    counts={"train": 269_695, "validation": 123_723, "test": 125_866},
)

BIGEARTHNET_S2_43 = replace(
    BIGEARTHNET_S2,
    name="bigearthnet-s2-43",
    title="BigEarthNet-S2 version 1 with its 43 CORINE classes",
    classes=tuple(BIGEARTHNET_GROUPS),
    layout=BandFolders(folders=_FOLDERS, bands=_BAND_FILES),
)

BIGEARTHNET_V2 = replace(
    BIGEARTHNET_S2,
    name="bigearthnet-v2",
    title="BigEarthNet version 2 (reBEN), Sentinel-2: patches of 1.2 km with 12 bands, several of 19 classes each",
    citation="Clasen et al. 2024: reBEN: Refined BigEarthNet Dataset for Remote Sensing Image Analysis",
    source="Zenodo: BigEarthNet-S2 and metadata.parquet, both in one folder [recalled]",
    layout=BandFolders(folders=("BigEarthNet-S2/*/*", "*/*"), bands=_BAND_FILES, table="metadata.parquet"),
    splits=RecordedSplit(),
    statistics={},
    counts={"train": 237_871, "validation": 122_342, "test": 119_825},
)
