"""The rows of the resize-and-normalise study: on which data, at which sizes, and with which figures, as published.

Corley et al.: "Revisiting pre-trained remote sensing model benchmarks: resizing and normalization matters", PBVS
workshop of CVPR 2024, arXiv 2305.13456; figures from the result files of isaaccorley/resize-is-all-you-need, means over
the seeds where filters or weights are random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from swath.datasets.statistics import BandStatistics
from swath.errors import DataError

if TYPE_CHECKING:
    from swath.datasets.spec import DatasetSpec
    from swath.models.pretrain.preparation import Order

MODELS = (
    "resnet50_pretrained_imagenet",
    "resnet50_pretrained_moco",
    "resnet50_randominit",
    "imagestats",
    "mosaiks_512_3",
    "mosaiks_zca_512_3",
)
SCRIPT_SEEDS = (0, 42, 2023)
TABLE_SEEDS = (0, 1, 2)
"""Seeds of the tables of EuroSAT, RESISC45 and UC Merced; the other data sets have `SCRIPT_SEEDS`."""
EUROSAT_SWEEP = tuple(range(32, 257, 16))
"""The sizes of the study's sweep on EuroSAT."""


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """A data set of the study with its published figures, in per cent.

    `data` starts the names of the declared data sets that the row is about. `native` is the first size that was tested
    (34 pixels stand for the smaller native ones). `figures` holds for each model the figures at `native` and at 224
    pixels, those of 256-pixel data at 256 alone.
    """

    title: str
    data: tuple[str, ...]
    rgb: bool
    headline: str
    native: int
    order: Order
    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float, ...]]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that were tested."""
        return (self.native,) if self.native == 256 else (self.native, 224)

    def figure(self, model: str, size: int | None) -> float | None:
        """Return a model's published figure at a size (None: native) as a fraction, where there is one.

        >>> study_row("eurosat", rgb=True).figure("imagestats", None)
        0.7694
        """
        known = dict(zip(self.sizes, self.figures.get(model, ()), strict=False))
        value = known.get(self.native if size is None else size)
        return None if value is None else round(value / 100, 4)


def study_row(data: str, *, rgb: bool) -> StudyRow:
    """Return the row of a declared data set by name; raise `DataError` where the study has none."""
    for row in STUDY:
        if row.rgb == rgb and any(data == name or data == f"{name}-torchgeo" for name in row.data):
            return row
    raise DataError(
        f"The study has no figures for '{data}' {'in red, green and blue' if rgb else 'in all bands'}; it has "
        f"{', '.join(row.title for row in STUDY)}."
    )


_PUBLISHED = """
title                 | data                | native | headline  | ImageNet    | MoCo        | random init | imagestats  | MOSAIKS     | MOSAIKS-ZCA
EuroSAT MSI           | eurosat-msi         | 64     | accuracy  | 78.65 89.81 | 81.85 93.65 | 75.10 87.19 | 89.56 89.43 | 87.56 87.41 | 91.10 90.14
EuroSAT RGB           | eurosat eurosat-msi | 64     | accuracy  | 82.09 91.17 | 94.11 95.76 | 59.92 73.76 | 76.94 77.20 | 78.85 76.90 | 81.47 77.88
So2Sat random MSI     | so2sat-random       | 34     | accuracy  | 56.18 88.46 | 72.51 96.15 | 55.06 84.10 | 91.09       | 89.40 89.72 | 95.37 95.20
So2Sat random RGB     | so2sat-random       | 34     | accuracy  | 66.21 92.99 | 75.07 93.93 | 46.19 71.74 | 83.84       | 72.67 74.22 | 71.00 51.66
So2Sat culture_10 MSI | so2sat-culture-10   | 34     | accuracy  | 42.11 50.32 | 49.36 53.54 | 35.47 45.68 | 47.93       | 45.23 45.36 | 47.63 44.98
So2Sat culture_10 RGB | so2sat-culture-10   | 34     | accuracy  | 47.76 54.53 | 51.45 56.03 | 29.10 34.16 | 38.36       | 30.92 31.19 | 35.32 27.36
BigEarthNet MSI       | bigearthnet-s2      | 120    | micro mAP | 62.96 65.88 | 64.64 70.17 | 61.17 66.31 | 71.29       | 72.01 72.12 | 76.18 76.29
BigEarthNet RGB       | bigearthnet-s2      | 120    | micro mAP | 66.62 69.07 | 70.65 74.81 | 52.63 57.61 | 62.00       | 53.94 53.74 | 57.22 52.90
TreeSatAI MSI         | treesatai           | 34     | micro mAP | 30.69 41.33 | 36.24 44.14 | 34.73 48.48 | 51.56       | 51.83 51.99 | 56.08 55.77
TreeSatAI RGB         | treesatai           | 34     | micro mAP | 27.30 40.58 | 29.93 37.57 | 29.08 34.75 | 37.19       | 32.15 31.29 | 31.13 28.50
SAT-6 RGB             | sat-6               | 34     | accuracy  | 96.55 99.89 | 98.15 99.86 | 91.64 98.57 | 99.60       | 99.40 99.29 | 99.65 98.85
RESISC45 RGB          | nwpu-resisc45       | 256    | accuracy  | 77.48       | 73.24       | 36.30       | 34.03       | 42.29       | 36.15
UC Merced RGB         | uc-merced           | 256    | accuracy  | 90.71       | 85.48       | 47.94       | 47.86       | 52.14       | 56.90
"""  # noqa: E501 (a table reads best whole)


def _row(line: str) -> StudyRow:
    title, data, native, headline, *figures = (cell.strip() for cell in line.split("|"))
    tables = int(native) in (64, 256)
    return StudyRow(
        title=title,
        data=tuple(data.split()),
        rgb=title.endswith("RGB"),
        headline=headline,
        native=int(native),
        # These three normalise when they read, the others after they resized.
        order="normalise first" if tables else "resize first",
        seeds=TABLE_SEEDS if tables else SCRIPT_SEEDS,
        figures={model: tuple(map(float, cell.split())) for model, cell in zip(MODELS, figures, strict=True)},
    )


STUDY = tuple(_row(line) for line in _PUBLISHED.strip().splitlines()[1:])
"""The rows of the study in the order of its table."""

STUDY_STATISTICS: Mapping[str, BandStatistics] = MappingProxyType(
    {
        "treesatai": BandStatistics(
            mean=(
                *(253.166, 237.944, 384.662, 253.627, 625.806, 2074.902),
                *(2651.586, 2762.078, 2923.101, 2926.369, 1307.518, 600.529),
            ),
            std=(
                *(127.595, 137.152, 160.500, 178.531, 233.078, 542.364),
                *(721.978, 798.614, 790.644, 717.238, 462.273, 300.090),
            ),
        ),
        "sat-6": BandStatistics(mean=(112.3275, 114.6735, 114.189, 107.1255), std=(54.7485, 47.889, 37.128, 76.6785)),
    }
)
"""Statistics of data sets that do not bring their own: TreeSatAI's 12 bands of Sentinel-2 in the sensor's order, as
digital numbers, and SAT-6's red, green, blue and near infrared, 0 to 255 (published as shares of 255)."""


def statistics_of(spec: DatasetSpec) -> BandStatistics | None:
    """Return the statistics published with a data set or in the study, in the order of its bands; None without any."""
    return spec.statistics.get("image") or STUDY_STATISTICS.get(spec.name)
