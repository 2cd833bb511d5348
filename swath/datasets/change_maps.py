"""Data sets of pairs of dates with a map of what changed."""

from __future__ import annotations

from dataclasses import replace

from swath.datasets.formats.hdf5 import ArrayRows
from swath.datasets.formats.image_pairs import ImagePairs, PairFiles, PairLists, pair_folders
from swath.datasets.formats.label_rules import AnyChannelAbove, LabelRule, binary
from swath.datasets.formats.parquet import ImageTable
from swath.datasets.layout import FirstLayout
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import FirstSplit, ListSplit, RecordedSplit, SeededSplit, SplitRule
from swath.imagery.bands import Unit
from swath.samples.rasters import CHANGE_CLASSES

BINARY = binary(*CHANGE_CLASSES)
"""Masks of 0 and 255, or of 0 and 1."""

_FILE_LISTS = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}

CHANGE_SPLITS = FirstSplit(
    (
        RecordedSplit(),
        ListSplit(
            files={part: f"list/{file}" for part, file in _FILE_LISTS.items()}, by_name=True, optional=("validation",)
        ),
    )
)
"""The folders, files or lists of pairs say it, and otherwise lists of names in the folder `list`."""


def change_layout(
    *folders: tuple[str, str, str], further: tuple[PairFiles, ...] = (), rule: LabelRule = BINARY
) -> FirstLayout:
    """Return the forms in which data sets of change are published and copied.

    Folders of pairs with these names, or with the usual A, B and label; lists of pairs; Hugging Face's tables and
    HDF5 files with `imageA`, `imageB` and `label`.
    """
    images = ("imageA", "imageB")
    arrays = {part: (file.replace(".txt", ".h5"),) for part, file in _FILE_LISTS.items()}
    names = dict.fromkeys((*folders, ("A", "B", "label")))
    return FirstLayout(
        (
            ImagePairs(arrangements=(*further, *pair_folders(*names)), rule=rule),
            PairLists(files=_FILE_LISTS, rule=rule),
            ImageTable(images=images, rule=BINARY),
            ArrayRows(files=arrays, images=images, rule=BINARY),
        )
    )


def change_dataset(
    name: str,
    title: str,
    *,
    citation: str,
    source: str,
    gsd: float | None,
    counts: tuple[int, ...] = (),
    licence: str = "none stated; research use with citation",
    layout: FirstLayout | None = None,
    splits: SplitRule = CHANGE_SPLITS,
) -> DatasetSpec:
    """Declare pairs of 8-bit RGB images with a map of change; `counts` are of train, validation and test."""
    return DatasetSpec(
        name=name,
        title=title,
        classes=CHANGE_CLASSES,
        licence=licence,
        citation=citation,
        source=source,
        layout=layout or change_layout(),
        splits=splits,
        bands=("red", "green", "blue"),
        unit=Unit.EIGHT_BIT,
        gsd=gsd,
        slots=("before", "after"),
        counts=dict(zip(_FILE_LISTS, counts, strict=False)),
    )


def _in_tiles(spec: DatasetSpec, *counts: int, source: str) -> DatasetSpec:
    return replace(
        spec,
        name=f"{spec.name}-256",
        title=f"{spec.title}; cut into tiles of 256 pixels without overlap",
        source=f"copies in tiles: folders of parts, folders with list/*.txt, or {source}",
        counts=dict(zip(_FILE_LISTS, counts, strict=False)),
    )


LEVIR_CD = change_dataset(
    "levir-cd",
    "LEVIR-CD: new and lost buildings in 20 regions of Texas, 1,024 pixels a side",
    citation=(
        "Chen and Shi 2020: A Spatial-Temporal Attention-Based Method and a New Dataset for Remote Sensing Image "
        "Change Detection. Remote Sensing 12(10)"
    ),
    source="Beihang University, LEVIR: archives train, val and test with A, B and label",
    licence="academic use; images from Google Earth",
    gsd=0.5,
    counts=(445, 64, 128),
)
LEVIR_CD_256 = _in_tiles(LEVIR_CD, 7_120, 1_024, 2_048, source="Hugging Face ericyu/LEVIRCD_Cropped256")
WHU_CD = change_dataset(
    "whu-cd",
    "WHU-CD: buildings of Christchurch, 2012 and 2016, in tiles of 256 pixels",
    citation=(
        "Ji, Wei and Lu 2019: Fully Convolutional Networks for Multisource Building Extraction From an Open Aerial "
        "and Satellite Imagery Data Set. IEEE TGRS 57(1)"
    ),
    source="Wuhan University, GPCV: building change detection dataset, cut into tiles; copies differ in their splits",
    gsd=0.2,
    layout=change_layout(("image1", "image2", "label")),
)
S2LOOKING = change_dataset(
    "s2looking",
    "S2Looking: buildings of rural areas seen from the side by satellites, 1,024 pixels a side, 0.5 to 0.8 m",
    citation=(
        "Shen et al. 2021: S2Looking: A Satellite Side-Looking Dataset for Building Change Detection. Remote Sensing "
        "13(24)"
    ),
    source="GitHub repository S2Looking/Dataset: train, val and test with Image1, Image2 and label [recalled]",
    gsd=None,
    counts=(3_500, 500, 1_000),
    layout=change_layout(("Image1", "Image2", "label")),
)
DSIFN_CD = change_dataset(
    "dsifn-cd",
    "DSIFN: any change of land in six Chinese cities, 512 pixels a side",
    citation=(
        "Zhang et al. 2020: A deeply supervised image fusion network for change detection in high resolution "
        "bi-temporal remote sensing images. ISPRS Journal 166"
    ),
    source="GitHub repository GeoZcx/A-deeply-supervised-image-fusion-network...: t1, t2 and mask [recalled]",
    gsd=2.0,
    counts=(3_600, 340, 48),
    layout=change_layout(("t1", "t2", "mask")),
)
DSIFN_CD_256 = _in_tiles(DSIFN_CD, 14_400, 1_360, 192, source="ChangeFormer's archive [recalled]")
CDD = change_dataset(
    "cdd",
    "CDD: any change but that of seasons in Google Earth images of 0.03 to 1 m, 256 pixels a side",
    citation=(
        "Lebedev et al. 2018: Change detection in remote sensing images using conditional adversarial networks. "
        "ISPRS Archives XLII-2"
    ),
    source="archive ChangeDetectionDataset, folder Real/subset: train, val and test with A, B and OUT [recalled]",
    gsd=None,
    counts=(10_000, 3_000, 3_000),
    # The masks of the original are JPEG, so black and white are only nearly so.
    layout=change_layout(("A", "B", "OUT"), rule=AnyChannelAbove(threshold=127)),
)
CLCD = change_dataset(
    "clcd",
    "CLCD: change of cropland in Guangdong, 512 pixels a side, 0.5 to 2 m",
    citation=(
        "Liu et al. 2022: A CNN-Transformer Network With Multiscale Context Aggregation for Fine-Grained Cropland "
        "Change Detection. IEEE JSTARS 15"
    ),
    source="GitHub repository liumency/CropLand-CD: train, val and test with time1, time2 and label [recalled]",
    gsd=None,
    counts=(360, 120, 120),
    layout=change_layout(("time1", "time2", "label"), ("image1", "image2", "label")),
)
CLCD_256 = _in_tiles(CLCD, 1_440, 480, 480, source="Hugging Face ericyu/CLCD_Cropped_256 [counts recalled]")
SYSU_CD = change_dataset(
    "sysu-cd",
    "SYSU-CD: any change of Hong Kong and its sea, 256 pixels a side",
    citation=(
        "Shi et al. 2022: A Deeply Supervised Attention Metric-Based Network and an Open Aerial Image Dataset for "
        "Remote Sensing Change Detection. IEEE TGRS 60"
    ),
    source="GitHub repository liumency/SYSU-CD: time1, time2 and label; Hugging Face ericyu/SYSU_CD",
    gsd=0.5,
    counts=(12_000, 4_000, 4_000),
    layout=change_layout(("time1", "time2", "label"), ("T1", "T2", "GT")),
)
EGY_BCD = change_dataset(
    "egy-bcd",
    "EGY-BCD: buildings of four regions of Egypt, 256 pixels a side",
    citation="Holail et al. 2023: AFDE-Net: Building Change Detection Using Attention-Based Feature Differential "
    "Enhancement for Satellite Imagery. IEEE GRSL 20",
    source="GitHub repository oshholail/EGY-BCD [recalled]; Hugging Face ericyu/EGY_BCD",
    gsd=0.25,
)
OSCD_96 = change_dataset(
    "oscd-96",
    "OSCD in true colour: any urban change of 24 cities in Sentinel-2, tiles of 96 pixels; there is no validation part",
    citation=(
        "Caye Daudt et al. 2018: Urban Change Detection for Multispectral Earth Observation Using Convolutional "
        "Neural Networks. IGARSS"
    ),
    source="MTP's tiles (train and test with A, B and label); Hugging Face blaz-r/OSCD_RGB_Cropped_96",
    gsd=10.0,
)
GVLM = change_dataset(
    "gvlm",
    "GVLM: landslides at 17 sites, whole scenes or tiles of 256 pixels",
    citation=(
        "Zhang et al. 2023: Cross-domain landslide mapping from large-scale remote sensing images using "
        "prototype-guided domain-aware progressive representation learning. ISPRS Journal 197"
    ),
    source="GitHub repository zxk688/GVLM: a folder a site with im1, im2 and ref [recalled]; Hugging Face "
    "ericyu/GVLM_Cropped_256",
    gsd=0.59,
    layout=change_layout(
        further=(PairFiles(before="{site}/im1", after="{site}/im2", label="{site}/ref"),),
    ),
    splits=FirstSplit((*CHANGE_SPLITS.rules, SeededSplit(shares={"train": 0.6, "validation": 0.2, "test": 0.2}))),
)
SZTAKI_AIRCHANGE = change_dataset(
    "sztaki-airchange",
    "SZTAKI AirChange: built-up and changed land in aerial images years apart, 952 x 640 pixels",
    citation=(
        "Benedek and Sziranyi 2009: Change Detection in Optical Aerial Images by a Multilayer Conditional Mixed Markov "
        "Model. IEEE TGRS 47(10)"
    ),
    source="SZTAKI: folders Szada, Tiszadob and Archive with <number>/im1, im2 and gt [recalled], or DSMSCN's copy",
    licence="free for scientific use with citation",
    gsd=1.5,
    layout=change_layout(
        further=(
            PairFiles(before="{site}/{number}/im1", after="{site}/{number}/im2", label="{site}/{number}/gt"),
            PairFiles(
                before="{site}/{part}/{number}_im1",
                after="{site}/{part}/{number}_im2",
                label="{site}/{part}/{number}_gt",
            ),
        ),
    ),
    splits=FirstSplit((*CHANGE_SPLITS.rules, SeededSplit(shares={"train": 0.75, "test": 0.25}))),
)

CHANGE_MAPS = (
    LEVIR_CD,
    LEVIR_CD_256,
    WHU_CD,
    S2LOOKING,
    DSIFN_CD,
    DSIFN_CD_256,
    CDD,
    CLCD,
    CLCD_256,
    SYSU_CD,
    EGY_BCD,
    OSCD_96,
    GVLM,
    SZTAKI_AIRCHANGE,
)
"""All of them."""
