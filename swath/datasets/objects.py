"""Data sets of objects: upright boxes, oriented boxes and instances.

Where the labels of a test part are withheld (DOTA, FAIR1M, iSAID, GLH-Bridge), it is no part here: predict on its
images and hand in what `builders.submissions` writes. Training on all that is labelled is the part `all`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swath.datasets.formats.box_table import BoxTable, CornerText, VisDroneText
from swath.datasets.formats.coco_json import CocoFile, CocoJson
from swath.datasets.formats.dota_text import DotaText
from swath.datasets.formats.fair1m_xml import Fair1mXml
from swath.datasets.formats.object_files import ObjectFolder, ObjectLayout
from swath.datasets.formats.stated_objects import ObjectKind, ObjectRules
from swath.datasets.formats.voc_xml import HrscXml, VocXml
from swath.datasets.formats.yolo_text import YoloText
from swath.datasets.layout import FirstLayout
from swath.datasets.object_classes import (
    DIOR_ORDERS,
    DOTA_CLASSES,
    FAIR1M_CATEGORIES,
    FAIR1M_ORDERS,
    HRSC2016_CLASSES,
    ISAID_CLASSES,
    VHR_10_CLASSES,
)
from swath.datasets.records import Record
from swath.datasets.spec import DatasetSpec
from swath.datasets.splits import ListSplit, Parts, PlaceSplit, RecordedSplit, SeededSplit, SplitRule
from swath.errors import ConfigurationError
from swath.imagery.bands import Unit
from swath.metrics.classes import fold_class_name

_ORIENTED = ObjectRules(kind=ObjectKind.ORIENTED)


@dataclass(frozen=True, kw_only=True)
class JoinedParts(SplitRule):
    """Another rule's parts, some of which are put together under a name, such as `train` and `validation` to train.

    >>> rule = JoinedParts(rule=RecordedSplit(), joined={"train": ("train", "validation"), "test": ("test",)})
    >>> records = [Record(key=part, image=Path(), part=part) for part in ("test", "validation", "train")]
    >>> [record.key for record in rule.parts(records, Path())["train"]]
    ['validation', 'train']
    """

    rule: SplitRule
    joined: Mapping[str, tuple[str, ...]]

    def parts(self, records: Sequence[Record], root: Path) -> Parts:
        """Divide by the other rule and join."""
        parts = self.rule.parts(records, root)
        chosen = {name: {record.key for part in of for record in parts[part]} for name, of in self.joined.items()}
        return {name: [record for record in records if record.key in keys] for name, keys in chosen.items()}

    def unit(self, record: Record) -> str:
        """Return the other rule's unit."""
        return self.rule.unit(record)

    def stratum(self, record: Record) -> str:
        """Return the other rule's stratum."""
        return self.rule.stratum(record)


def of_kind(spec: DatasetSpec, kind: ObjectKind, name: str) -> DatasetSpec:
    """Return a data set under another name whose objects become another kind, such as the upright boxes of DOTA.

    >>> of_kind(DOTA_V1_0, ObjectKind.UPRIGHT, "dota-v1.0-hbb").name
    'dota-v1.0-hbb'
    """
    return _with_rules(spec, lambda rules: replace(rules, kind=kind), name=name, title=f"{spec.title}; {kind.value}")


def with_order(spec: DatasetSpec, classes: Sequence[str]) -> DatasetSpec:
    """Return a data set with its classes in another order, such as that of published weights.

    Raises `ConfigurationError` unless they are the same classes, spelling aside.

    >>> with_order(DIOR, DIOR_ORDERS["mmrotate"]).classes.index("dam")
    8
    """
    own = {fold_class_name(name): name for name in spec.classes}
    if sorted(map(fold_class_name, classes)) != sorted(own):
        raise ConfigurationError(f"The classes of '{spec.name}' in another order are the same {len(own)} classes.")
    return replace(spec, classes=tuple(own[fold_class_name(name)] for name in classes))


def _with_rules(spec: DatasetSpec, change: Callable[[ObjectRules], ObjectRules], **fields: Any) -> DatasetSpec:
    layouts = spec.layout.layouts if isinstance(spec.layout, FirstLayout) else (spec.layout,)
    changed = tuple(
        replace(layout, rules=change(layout.rules)) for layout in layouts if isinstance(layout, ObjectLayout)
    )
    return replace(spec, layout=FirstLayout(changed) if len(changed) > 1 else changed[0], **fields)


def _rgb(**fields: Any) -> DatasetSpec:
    return DatasetSpec(**{"bands": ("red", "green", "blue"), "unit": Unit.EIGHT_BIT, "gsd": None} | fields)


def _lists(folder: str) -> ListSplit:
    parts = {"train": "train", "validation": "val", "test": "test"}
    return ListSplit(files={part: f"{folder}/{name}.txt" for part, name in parts.items()}, by_name=True)


def _train_and_val(images: str, truths: str) -> tuple[ObjectFolder, ...]:
    """Return the folders of the two parts, whose names stand for `{}`."""
    return tuple(
        ObjectFolder(images=images.format(name), truths=truths.format(name), part=part)
        for part, name in (("train", "train"), ("validation", "val"))
    )


def _trainval(spec: DatasetSpec) -> DatasetSpec:
    """Return the data set with its validation part put to the training part, as most figures are made."""
    counts = {"train": spec.counts["train"] + spec.counts["validation"], "test": spec.counts["test"]}
    joined = {"train": ("train", "validation"), "test": ("test",)}
    return replace(
        spec,
        name=f"{spec.name}-trainval",
        title=f"{spec.title}; trained on train and val",
        splits=JoinedParts(rule=spec.splits, joined=joined),
        counts=counts,
    )


# DIOR -----------------------------------------------------------------------------------------------------------------


def _dior(rules: ObjectRules, *truths: str) -> FirstLayout:
    images = (("JPEGImages-trainval", "JPEGImages-test"), ("JPEGImages",), ("JPEGImage",))
    return FirstLayout(
        tuple(
            VocXml(folders=tuple(ObjectFolder(images=folder, truths=truth) for folder in folders), rules=rules)
            for truth in truths
            for folders in images
        )
    )


DIOR = _rgb(
    name="dior",
    title="DIOR: 20 classes in 23,463 Google Earth images, 800 pixels a side, 0.5 to 30 m",
    classes=DIOR_ORDERS["paper"],
    licence="academic use, as the page of the data asks; images from Google Earth",
    citation=(
        "Li et al. 2020: Object detection in optical remote sensing images: A survey and a new benchmark. "
        "ISPRS Journal of Photogrammetry and Remote Sensing 159; arXiv 1909.00133"
    ),
    source="Page of Gong Cheng, gcheng-nwpu.github.io: DIOR with JPEGImages, Annotations and ImageSets",
    layout=_dior(ObjectRules(), "Annotations/Horizontal Bounding Boxes", "Annotations"),
    splits=_lists("ImageSets/Main"),
    counts={"train": 5_862, "validation": 5_863, "test": 11_738},
)
DIOR_R = replace(
    DIOR,
    name="dior-r",
    title="DIOR-R: the images of DIOR with boxes at any angle",
    citation=(
        "Cheng et al. 2022: Anchor-Free Oriented Proposal Generator for Object Detection. IEEE TGRS 60; "
        f"images: {DIOR.citation}"
    ),
    layout=_dior(_ORIENTED, "Annotations/Oriented Bounding Boxes", "Annotations"),
)
DIOR_TRAINVAL, DIOR_R_TRAINVAL = _trainval(DIOR), _trainval(DIOR_R)

# DOTA and what is built on it -----------------------------------------------------------------------------------------


def _dota(published: str) -> FirstLayout:
    """Return the layouts of DOTA: a folder a part with `images`, and labels as published or as tools put them."""
    return FirstLayout(
        tuple(
            DotaText(folders=_train_and_val("{}/images", labels), rules=_ORIENTED)
            for labels in (published, "{}/labelTxt", "{}/annfiles")
        )
    )


DOTA_V1_0 = _rgb(
    name="dota-v1.0",
    title="DOTA 1.0: 15 classes at any angle in 2,806 aerial images of up to 20,000 pixels a side",
    classes=DOTA_CLASSES[:15],
    licence="academic use, no commercial use; images from Google Earth, GF-2 and JL-1 satellites and CycloMedia",
    citation=(
        "Xia et al. 2018: DOTA: A Large-scale Dataset for Object Detection in Aerial Images. CVPR; arXiv 1711.10398"
    ),
    source="captain-whu.github.io/DOTA: train and val with images and labelTxt; tiles with annfiles do as well",
    layout=_dota("{}/labelTxt-v1.0/labelTxt"),
    splits=RecordedSplit(names=("train", "validation")),
    counts={"train": 1_411, "validation": 458},
)
DOTA_V1_5 = replace(
    DOTA_V1_0,
    name="dota-v1.5",
    title="DOTA 1.5: the images of DOTA 1.0 with small objects labelled as well, 16 classes",
    classes=DOTA_CLASSES[:16],
    layout=_dota("{0}/labelTxt-v1.5/DOTA-v1.5_{0}"),
)
DOTA_V2_0 = replace(
    DOTA_V1_0,
    name="dota-v2.0",
    title="DOTA 2.0: 18 classes at any angle in 11,268 aerial images",
    classes=DOTA_CLASSES,
    citation=(
        "Ding et al. 2021: Object Detection in Aerial Images: A Large-Scale Benchmark and Challenges. "
        "IEEE TPAMI 44(11); arXiv 2102.12219"
    ),
    layout=_dota("{0}/labelTxt-v2.0/DOTA-v2.0_{0}"),
    counts={"train": 1_830, "validation": 593},
)
DOTA_V1_0_HBB = of_kind(DOTA_V1_0, ObjectKind.UPRIGHT, "dota-v1.0-hbb")

ISAID = _rgb(
    name="isaid",
    title="iSAID: 15 classes with a mask an object in the images of DOTA 1.0",
    classes=ISAID_CLASSES,
    licence="academic use, no commercial use; images of DOTA",
    citation=(
        "Waqas Zamir et al. 2019: iSAID: A Large-scale Dataset for Instance Segmentation in Aerial Images. "
        "CVPR Workshops; arXiv 1905.12886"
    ),
    source="captain-whu.github.io/iSAID: annotations, beside the images of DOTA 1.0; tiles with instancesonly_filtered",
    layout=CocoJson(
        files=tuple(
            CocoFile(
                annotations=(
                    f"{folder}/instancesonly_filtered_{folder}.json",
                    f"{folder}/Annotations/iSAID_{folder}.json",
                ),
                images=f"{folder}/images",
                part=part,
            )
            for part, folder in (("train", "train"), ("validation", "val"))
        ),
        rules=ObjectRules(kind=ObjectKind.MASKS),
    ),
    splits=RecordedSplit(names=("train", "validation")),
)

GLH_BRIDGE = _rgb(
    name="glh-bridge",
    title="GLH-Bridge: bridges at any angle in 6,000 images of 2,048 to 16,384 pixels a side",
    classes=("bridge",),
    licence="MIT, as its page on Hugging Face says",
    citation=(
        "Li et al. 2024: Learning to Holistically Detect Bridges From Large-Size VHR Remote Sensing Imagery. "
        "IEEE TPAMI 46(12); arXiv 2312.02481"
    ),
    source="Hugging Face data set ll-13/GLH-Bridge: train_image, train_label, val_image and val_label, unpacked",
    # What the archives unpack to is not known here; each of these is accepted.
    layout=FirstLayout(
        tuple(
            DotaText(folders=_train_and_val(images, labels), rules=_ORIENTED)
            for images, labels in (
                ("{}_image", "{}_label"),
                ("{}/images", "{}/labels"),
                ("{}/images", "{}/labelTxt"),
                ("{}/images", "{}/annfiles"),
            )
        )
    ),
    splits=RecordedSplit(names=("train", "validation")),
)
GLH_BRIDGE_HBB = of_kind(GLH_BRIDGE, ObjectKind.UPRIGHT, "glh-bridge-hbb")

# FAIR1M ---------------------------------------------------------------------------------------------------------------

_FAIR1M_MAKERS = {
    **{f"Airbus {name}": name for name in ("A220", "A321", "A330", "A350")},
    **{f"COMAC {name}": name for name in ("C919", "ARJ21")},
}
# Some outlines have collapsed to a line.
_FAIR1M_RULES = ObjectRules(kind=ObjectKind.ORIENTED, aliases=_FAIR1M_MAKERS, smallest_side=1.0)

FAIR1M_V1_0 = _rgb(
    name="fair1m-v1.0",
    title="FAIR1M 1.0: 37 classes of aircraft, ships, vehicles, courts and roads at any angle, 0.3 to 0.8 m",
    classes=FAIR1M_ORDERS["petdet"],
    licence="academic use after registration; images from Gaofen satellites and Google Earth",
    citation=(
        "Sun et al. 2022: FAIR1M: A benchmark dataset for fine-grained object recognition in high-resolution remote "
        "sensing imagery. ISPRS Journal of Photogrammetry and Remote Sensing 184; arXiv 2103.05569"
    ),
    source="gaofen-challenge.com/benchmark: train with images and labelXml, or in part1 and part2",
    layout=FirstLayout(
        (
            Fair1mXml(
                folders=(ObjectFolder(images="train/images", truths="train/labelXml", part="train"),),
                rules=_FAIR1M_RULES,
            ),
            Fair1mXml(
                folders=tuple(
                    ObjectFolder(images=f"train/{half}/images", truths=f"train/{half}/labelXml", part="train")
                    for half in ("part1", "part2")
                ),
                rules=_FAIR1M_RULES,
            ),
        )
    ),
    splits=RecordedSplit(names=("train",)),
)
FAIR1M_V2_0 = replace(
    FAIR1M_V1_0,
    name="fair1m-v2.0",
    title=FAIR1M_V1_0.title.replace("1.0", "2.0"),
    source="gaofen-challenge.com/benchmark: train (as in 1.0) and val with images and labelXml",
    layout=Fair1mXml(folders=_train_and_val("{}/images", "{}/labelXml"), rules=_FAIR1M_RULES),
    splits=RecordedSplit(names=("train", "validation")),
)

_CATEGORY_OF = {name: category for category, names in FAIR1M_CATEGORIES.items() for name in names}
FAIR1M_V2_0_COARSE = _with_rules(
    FAIR1M_V2_0,
    lambda rules: replace(
        rules, aliases=_CATEGORY_OF | {alias: _CATEGORY_OF[name] for alias, name in _FAIR1M_MAKERS.items()}
    ),
    name="fair1m-v2.0-coarse",
    title=f"{FAIR1M_V2_0.title}; the five categories alone",
    classes=tuple(FAIR1M_CATEGORIES),
)

# Ships, and the older sets --------------------------------------------------------------------------------------------


def _hrsc(rules: ObjectRules) -> FirstLayout:
    return FirstLayout(
        tuple(
            # Of the 1,680 images those alone count that are annotated.
            HrscXml(folders=(ObjectFolder(images=images, truths=truths),), rules=rules, lacking="skipped")
            for images, truths in (
                ("FullDataSet/AllImages", "FullDataSet/Annotations"),
                ("FullDataSet/JPEGImages", "FullDataSet/Annotations"),
                ("AllImages", "Annotations"),
            )
        )
    )


HRSC2016 = _rgb(
    name="hrsc2016",
    title="HRSC2016: ships at any angle in 1,061 images of six harbours, 0.4 to 2 m",
    classes=("ship",),
    licence="none stated; research use with citation, images from Google Earth",
    citation=(
        "Liu et al. 2017: A High Resolution Optical Satellite Image Dataset for Ship Recognition and Some New "
        "Baselines. ICPRAM"
    ),
    source="HRSC2016 of its authors or the copy on Kaggle: FullDataSet with AllImages and Annotations, and ImageSets",
    layout=_hrsc(ObjectRules(kind=ObjectKind.ORIENTED, one_class=True)),
    splits=_lists("ImageSets"),
    counts={"train": 436, "validation": 181, "test": 444},
)
HRSC2016_31 = replace(
    HRSC2016,
    name="hrsc2016-31",
    title=f"{HRSC2016.title}; 31 classes of ships of three levels",
    classes=tuple(HRSC2016_CLASSES.values()),
    layout=_hrsc(ObjectRules(kind=ObjectKind.ORIENTED, aliases=dict(HRSC2016_CLASSES))),
)

NWPU_VHR_10 = _rgb(
    name="nwpu-vhr-10",
    title="NWPU VHR-10: 10 classes in 650 images of Google Earth and of Vaihingen, 0.08 to 2 m",
    classes=VHR_10_CLASSES,
    licence="research use with citation; images from Google Earth and of the ISPRS (Vaihingen, infrared)",
    citation=(
        "Cheng et al. 2014: Multi-class geospatial object detection and geographic image classification based on "
        "collection of part detectors. ISPRS Journal of Photogrammetry and Remote Sensing 98"
    ),
    source="Page of Gong Cheng, gcheng-nwpu.github.io: NWPU VHR-10 with 'positive image set' and 'ground truth'",
    layout=CornerText(
        folders=(ObjectFolder(images="positive image set", truths="ground truth"),), names=VHR_10_CLASSES
    ),
    splits=SeededSplit(shares={"train": 0.75, "test": 0.25}, stratified=False),
)
NWPU_VHR_10_CATNET = replace(
    NWPU_VHR_10,
    name="nwpu-vhr-10-catnet",
    title=f"{NWPU_VHR_10.title}; masks and split of CATNet",
    source="Hugging Face model yeliudev/CATNet: archive vhr with images and annotations/instances_*.json",
    layout=CocoJson(
        files=tuple(
            CocoFile(annotations=(f"annotations/instances_{part}.json",), images="images", part=part)
            for part in ("train", "test")
        ),
        rules=ObjectRules(kind=ObjectKind.MASKS),
    ),
    splits=RecordedSplit(names=("train", "test")),
    counts={"train": 487, "test": 163},
)

# From drones and aircraft ---------------------------------------------------------------------------------------------

VISDRONE_DET = _rgb(
    name="visdrone-det",
    title="VisDrone-DET 2019: 10 classes of people and vehicles in drone images of Chinese cities",
    classes=VisDroneText(folders=()).names[1:-1],
    licence="academic use, as the page of the data asks",
    citation="Zhu et al. 2022: Detection and Tracking Meet Drones Challenge. IEEE TPAMI 44(11); arXiv 2001.06303",
    source="GitHub repository VisDrone/VisDrone-Dataset: VisDrone2019-DET-train, -val and -test-dev",
    layout=VisDroneText(
        folders=tuple(
            ObjectFolder(
                images=f"VisDrone2019-DET-{name}/images",
                truths=f"VisDrone2019-DET-{name}/annotations",
                part=part,
                optional=part != "train",
            )
            for part, name in (("train", "train"), ("validation", "val"), ("test", "test-dev"))
        ),
        rules=ObjectRules(left_out=("others",)),
    ),
    splits=RecordedSplit(),
    counts={"train": 6_471, "validation": 548, "test": 1_610},
)


def _roboflow(kind: type[VocXml] | type[YoloText], images: str, truths: str) -> ObjectLayout:
    """Return a layout of what Roboflow exports, whose parts are train, valid and test; the last two may be missing."""
    folders = tuple(
        ObjectFolder(images=images.format(part), truths=truths.format(part), optional=part != "train")
        for part in ("train", "valid", "test")
    )
    return kind(folders=folders, rules=ObjectRules(one_class=True))


HRPLANES = _rgb(
    name="hrplanes",
    title="HRPlanes 2: aircraft on airports in Google Earth images",
    classes=("aircraft",),
    licence="CC BY 4.0 (as exported by Roboflow); images from Google Earth",
    citation=(
        "Bakirman and Sertel 2023: A benchmark dataset for deep learning-based airplane detection: HRPlanes. "
        "International Journal of Engineering and Geosciences 8(3)"
    ),
    source="Roboflow project hrplanesv2: exports as COCO, YOLO or VOC, parts train, valid and test",
    layout=FirstLayout(
        (
            CocoJson(
                files=tuple(
                    CocoFile(
                        annotations=(f"{part}/_annotations.coco.json", f"{part}/_annotations.subset.json"),
                        images=part,
                        optional=part != "train",
                    )
                    for part in ("train", "valid", "test")
                ),
                rules=ObjectRules(one_class=True),
            ),
            _roboflow(YoloText, "{}/images", "{}/labels"),
            _roboflow(VocXml, "{}", "{}"),
        )
    ),
    # An export holds up to three turned copies of a source image, <source>_jpg.rf.<hash>.jpg, which stay together.
    splits=PlaceSplit(
        place=r"^(.+?)(?:_(?:jpe?g|png)\.rf\.[0-9a-zA-Z]+)?$", shares={"train": 0.8, "test": 0.2}, seed=0
    ),
)
HRPLANES_AIRPORTS = replace(
    HRPLANES,
    name="hrplanes-airports",
    title=f"{HRPLANES.title}; whole airports apart",
    # SIN_0115 is an airport's code and a number, 292_DT8 and 41_set1 a number and a series.
    splits=PlaceSplit(place=r"^(?:\d+_)?([A-Za-z]+\d?)", shares={"train": 0.8, "test": 0.2}, seed=0),
)

AERIAL_CARS = _rgb(
    name="aerial-cars",
    title="Vehicles from the air: image sequences of KIT AIS and drone stills of Minsk",
    classes=("car", "truck", "bus", "minibus", "cyclist"),
    licence="CC BY 3.0 (KIT AIS), CC BY-SA (stills of Minsk); frames from YouTube are under YouTube's licence",
    citation="Kharuzhy, Y.: aerial-cars-dataset; KIT AIS Data Set, Karlsruhe Institute of Technology",
    source="GitHub repository jekhor/aerial-cars-dataset: images beside text files of the same name, and aerial.names",
    layout=YoloText(folders=(ObjectFolder(images=".", truths="."),)),
    # Frames of a sequence, <sequence>-MOS<number>, and stills of a flight, DJI_<number>, show the same ground.
    splits=PlaceSplit(place=r"^(.+?)(?:-MOS\d+|_\d+)?$", shares={"train": 0.8, "test": 0.2}, seed=0),
)

TREE_CROWNS = _rgb(
    name="tree-crowns",
    title="Tree crowns as boxes in airborne images of NEON sites, 0.1 m (the sample data of DeepForest)",
    classes=("Tree",),
    licence="MIT (DeepForest); images of NEON, CC BY 4.0 or CC0",
    citation=(
        "Weinstein et al. 2020: DeepForest: A Python package for RGB deep learning tree crown delineation. Methods in "
        "Ecology and Evolution 11(12)"
    ),
    source="GitHub repository weecology/DeepForest: folder src/deepforest/data, images beside tables",
    layout=FirstLayout(
        (
            BoxTable(tables={None: ("*.csv",)}, rules=ObjectRules(aliases={"Alive": "Tree", "Dead": "Tree"})),
            VocXml(
                folders=(ObjectFolder(images=".", truths="."),),
                rules=ObjectRules(aliases={"Alive": "Tree", "Dead": "Tree"}),
                lacking="skipped",
            ),
        )
    ),
    splits=SeededSplit(shares={"train": 0.8, "test": 0.2}, stratified=False),
    gsd=0.1,
)

OBJECT_SETS = (
    AERIAL_CARS,
    DIOR,
    DIOR_R,
    DIOR_R_TRAINVAL,
    DIOR_TRAINVAL,
    DOTA_V1_0,
    DOTA_V1_0_HBB,
    DOTA_V1_5,
    DOTA_V2_0,
    FAIR1M_V1_0,
    FAIR1M_V2_0,
    FAIR1M_V2_0_COARSE,
    GLH_BRIDGE,
    GLH_BRIDGE_HBB,
    HRPLANES,
    HRPLANES_AIRPORTS,
    HRSC2016,
    HRSC2016_31,
    ISAID,
    NWPU_VHR_10,
    NWPU_VHR_10_CATNET,
    TREE_CROWNS,
    VISDRONE_DET,
)
"""All data sets of objects that are declared here."""
