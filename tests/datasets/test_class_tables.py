"""Classes from CSV tables and from lists of paths, over real EuroSAT chips."""

from dataclasses import replace

import pytest
from real_pixels import CHIPS, DATA

from swath.datasets.formats.class_tables import ClassLists, ClassTable
from swath.datasets.scenes import EUROSAT_RGB
from swath.datasets.splits import RecordedSplit
from swath.errors import DataError

ROOT = DATA / "eurosat_rgb"
NAMES = [path.relative_to(ROOT).as_posix() for path in CHIPS]


@pytest.fixture
def chips(tmp_path):
    for path in CHIPS:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / path.name).write_bytes(path.read_bytes())
    return tmp_path


def spec_of(layout, *names):
    return replace(EUROSAT_RGB, layout=layout, splits=RecordedSplit(names=names) if names else EUROSAT_RGB.splits)


def table(root, *lines):
    (root / "labels.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    return root


def test_a_table_says_class_and_part_of_each_image(chips):
    rows = [
        f"{path.stem},{path.parent.name},{'val' if number % 3 == 0 else 'Train'}" for number, path in enumerate(CHIPS)
    ]
    layout = ClassTable(table="labels.csv", images="images/{}", label="class", part="split")
    spec = spec_of(layout, "train", "validation")
    root = table(chips, "image,class,split", *rows)
    assert [len(spec.open(root, part)) for part in ("train", "validation")] == [20, 10]
    sample = spec.open(root, "validation")[2]
    assert sample.key == f"images/{CHIPS[6].name}"
    assert sample.target.best.name == CHIPS[6].parent.name


def test_several_classes_stand_in_one_cell_or_in_columns_of_their_own(chips):
    names = [path.name for path in CHIPS[:2]]
    table(chips, "image,tags", f"{names[0]},river 1", f"{names[1]},")
    cell = ClassTable(table="labels.csv", images="images/{}", label="tags", separator=" ")
    assert spec_of(cell).open(chips, "all")[0].target.scores.nonzero()[0].tolist() == [1, 8]
    assert not spec_of(cell).open(chips, "all")[1].target.scores.any()
    order = EUROSAT_RGB.classes[::-1]
    table(
        chips,
        "image," + ",".join(order),
        f"{names[0]}," + ",".join("1" if name in ("Forest", "River") else "0" for name in order),
    )
    columns = ClassTable(table="labels.csv", images="images/{}", label=None)
    assert spec_of(columns).open(chips, "all")[0].target.scores.nonzero()[0].tolist() == [1, 8]


def test_lists_say_a_class_by_number_by_name_or_by_folder(tmp_path):
    spec = spec_of(ClassLists(files={"train": "train.txt", "test": "test.txt"}), "train", "test")
    for name in NAMES[:9]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    numbers = [f"{name} {EUROSAT_RGB.classes.index(name.split('/')[0])}" for name in NAMES[:3]]
    folders = NAMES[3:6]
    named = [f"{name} herbaceous_vegetation" for name in NAMES[6:9]]
    (tmp_path / "train.txt").write_text("\n".join(numbers + folders))
    (tmp_path / "test.txt").write_text("\n".join(named) + "\n\n")
    train = spec.open(tmp_path, "train")
    assert [sample.target.best.name for sample in train] == ["AnnualCrop"] * 3 + ["Forest"] * 3
    assert [sample.target.best.name for sample in spec.open(tmp_path, "test")] == ["HerbaceousVegetation"] * 3


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["name,label"], {}, "lacks the column image; it has name, label"),
        (["image,label", "nowhere.jpg,Forest"], {}, "Line 2 of .* names nowhere.jpg, which is not in"),
        (["image,label", "{0},Sea"], {}, "Line 2 of .* says the class 'Sea'"),
        (["image,label", "{0},11"], {}, "neither one of the 10 classes .* nor their number, 0 to 9"),
        (["image,label", "{0},1", "{0},2"], {}, "Line 3 of .* names .* twice"),
        (["image,label,part", "{0},1,train", "{0},1,test"], {"part": "part"}, "for both 'train' and 'test'"),
        (["image,label,part", "{0},1,later"], {"part": "part"}, "says the part 'later'"),
        (
            ["image," + ",".join(EUROSAT_RGB.classes), "{0}," + ",".join("2" * 10)],
            {"label": None},
            "holds '2' for AnnualCrop",
        ),
        (["image,label"], {}, "holds no image of labels.csv"),
    ],
)
def test_broken_tables_are_told_with_their_line(chips, lines, options, message):
    table(chips, *(line.replace("{0}", CHIPS[0].name) for line in lines))
    layout = ClassTable(table="labels.csv", images="images/{}", **options)
    with pytest.raises(DataError, match=message):
        spec_of(layout).open(chips, "all")


def test_missing_tables_and_lists_are_told(tmp_path):
    with pytest.raises(DataError, match=r"no table .*labels\.csv"):
        spec_of(ClassTable(table="labels.csv")).open(tmp_path)
    with pytest.raises(DataError, match=r"no list .*train\.txt"):
        spec_of(ClassLists(files={"train": "train.txt"})).open(tmp_path)
