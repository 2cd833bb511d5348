"""So2Sat LCZ42: local climate zones of 52 cities, told from Sentinel-2 and Sentinel-1 patches of 320 m."""

from __future__ import annotations

from dataclasses import replace

from swath.datasets.formats.geo_rows import PlacedArrayRows
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import DividedPart, RecordedSplit
from swath.datasets.statistics import BandStatistics
from swath.imagery.bands import Band, Unit
from swath.imagery.sensors import SENTINEL_2_L1C
from swath.samples.nomenclature import LOCAL_CLIMATE_ZONES

RADAR_BANDS = tuple(
    Band(name=name, role=role, gsd=10.0, unit=Unit.LINEAR_POWER, physical_unit=Unit.LINEAR_POWER)
    for name, role in (
        ("VH real", "vh_real"),
        ("VH imaginary", "vh_imaginary"),
        ("VV real", "vv_real"),
        ("VV imaginary", "vv_imaginary"),
        ("VH", "vh"),
        ("VV", "vv"),
        ("covariance real", "covariance_real"),
        ("covariance imaginary", "covariance_imaginary"),
    )
)
"""Sentinel-1 as the files store it, linear: four amplitudes, unfiltered, then two intensities and the off-diagonal
element of the covariance, filtered (refined Lee)."""

_CITIES = {
    "radar": BandStatistics(
        mean=(-3.591e-5, -7.66e-6, 5.937e-5, 2.517e-5, 0.0442011, 0.2576103, 7.557e-4, 1.3503e-3),
        std=(0.17555201, 0.17556463, 0.45998793, 0.45598876, 2.85599092, 8.32480061, 2.44987574, 1.46473530),
    ),
    "image": BandStatistics(
        mean=(
            *(0.12375696, 0.10927746, 0.10108552, 0.11423986, 0.15926567),
            *(0.18147236, 0.17457403, 0.19501607, 0.15428469, 0.10905051),
        ),
        std=(
            *(0.03958795, 0.04777826, 0.06636616, 0.06358874, 0.07744387),
            *(0.09101635, 0.09218466, 0.10164581, 0.09991773, 0.08780632),
        ),
    ),
}
_RANDOM = {
    "radar": BandStatistics(
        mean=(-5.541e-5, -1.363e-5, 4.559e-5, 2.991e-5, 0.0445195, 0.2586231, 3.272e-4, 1.2342e-3),
        std=(0.1756914, 0.1761190, 0.4600589, 0.4563601, 2.2492179, 7.9056503, 2.1917633, 1.3148480),
    ),
    "image": BandStatistics(
        mean=(
            *(0.12428657, 0.11001677, 0.10230652, 0.11532196, 0.15989486),
            *(0.18204406, 0.17513563, 0.19565547, 0.15648723, 0.11122536),
        ),
        std=(
            *(0.0392269, 0.0470917, 0.0653264, 0.0624057, 0.0758367),
            *(0.0891717, 0.0905092, 0.0996856, 0.0990188, 0.0873386),
        ),
    ),
}
_BLOCK = {
    "radar": BandStatistics(
        mean=(-4.632e-5, 1.261e-5, 5.306e-5, 3.471e-5, 0.0444994, 0.2604603, 8.782e-4, 8.689e-4),
        std=(0.1751797, 0.1754073, 0.4610124, 0.4572122, 0.8294254, 7.1771026, 0.9642598, 0.8770835),
    ),
    "image": BandStatistics(
        mean=(
            *(0.12381870, 0.10944155, 0.10176912, 0.11465268, 0.15870528),
            *(0.18053964, 0.17366822, 0.19390984, 0.15536490, 0.11057334),
        ),
        std=(
            *(0.0388311, 0.0464986, 0.0643833, 0.0616141, 0.0753004),
            *(0.0886178, 0.0899500, 0.0991759, 0.0983276, 0.0865943),
        ),
    ),
}


def _files(*folders: str, **parts: str) -> PlacedArrayRows:
    files = {part: tuple(f"{folder}{name}.h5" for folder in folders) for part, name in parts.items()}
    return PlacedArrayRows(files=files, images=("sen2", "sen1"))


SO2SAT = DatasetSpec(
    name="so2sat",
    title="So2Sat LCZ42 versions 2 and 4: 42 cities to train, the halves of 10 others to validate and to test",
    classes=LOCAL_CLIMATE_ZONES,
    licence="CC BY 4.0",
    citation=(
        "Zhu et al. 2020: So2Sat LCZ42: A Benchmark Data Set for the Classification of Global Local Climate Zones. "
        "IEEE GRSM 8(3)"
    ),
    source="mediaTUM 1483140 (version 2), or 1836598 with the patches' places (version 4): training.h5 and others",
    layout=_files("", train="training", validation="validation", test="testing"),
    splits=RecordedSplit(),
    bands=(
        *("blue", "green", "red", "red_edge_1", "red_edge_2", "red_edge_3"),
        *("nir", "nir_narrow", "swir_1", "swir_2"),
    ),
    # Reflectance already: not to be divided by 10,000 again.
    unit=Unit.REFLECTANCE,
    gsd=10.0,
    sensor=SENTINEL_2_L1C,
    companions={"radar": RADAR_BANDS},
    statistics=_CITIES,
    counts={"train": 352_366, "validation": 24_119, "test": 24_188},
)


def _scenario(name: str, what: str, statistics: dict[str, BandStatistics]) -> DatasetSpec:
    return replace(
        SO2SAT,
        name=f"so2sat-{name.replace('_', '-')}",
        title=f"So2Sat LCZ42 version 3: {what}; a fifth of the training part, by chance, to validate",
        source=f"mediaTUM 1613658 (version 3): {name}/training.h5 and {name}/testing.h5",
        layout=_files(f"{name}/", "", train="training", test="testing"),
        # TorchGeo carves as many by its own draw, which is another.
        splits=DividedPart(rule=RecordedSplit(), part="train", shares={"validation": 0.2, "train": 0.8}),
        statistics=statistics,
        counts={},
    )


SO2SAT_RANDOM = _scenario("random", "four fifths of each city to train, by chance", _RANDOM)
SO2SAT_BLOCK = _scenario("block", "four fifths of each city to train, as blocks", _BLOCK)
SO2SAT_CULTURE_10 = _scenario("culture_10", "42 cities to train and 10 of other cultures to test", _CITIES)
