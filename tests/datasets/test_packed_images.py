"""Images inside larger files: HDF5 arrays, Parquet tables and tar shards give what folders give."""

import io
import json
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from real_pixels import CHIPS, folders, pair

from swath.datasets.change_maps import BINARY, LEVIR_CD_256
from swath.datasets.formats.parquet import ImageTable
from swath.datasets.formats.tar_shards import TarShards
from swath.datasets.scenes import EUROSAT_RGB
from swath.datasets.splits import RecordedSplit
from swath.errors import DataError, ImageryUnreadable
from swath.samples.rasters import ClassMap

PARTS = (("train", (0, 1, 2)), ("val", (3,)), ("test", (4, 5)))


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array.transpose(1, 2, 0) if array.ndim == 3 else array).save(stream, "png")
    return stream.getvalue()


def hdf5_copy(root):
    """As BTC reads it: images channels last, labels 0 and 255, and the number of each pair."""
    root.mkdir()
    for part, numbers in PARTS:
        before, after, changed = (np.stack(each) for each in zip(*map(pair, numbers), strict=True))
        with h5py.File(root / f"{part}.h5", "w") as file:
            file["imageA"], file["imageB"] = before.transpose(0, 2, 3, 1), after.transpose(0, 2, 3, 1)
            file["label"], file["img_idx"] = changed.astype(np.uint8) * np.uint8(255), np.array(numbers)
    return root


def write_table(path, columns, group=2, metadata=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=group)


def cells(images):
    return [{"bytes": png(image), "path": None} for image in images]


def hub_copy(root, folder="data"):
    """As Hugging Face keeps it: a struct of bytes and path a cell, several files a part."""
    for part, numbers in PARTS:
        files = [numbers[:1], numbers[1:]] if len(numbers) > 2 else [numbers]
        for index, some in enumerate(files):
            before, after, changed = zip(*map(pair, some), strict=True)
            columns = {
                "imageA": cells(before),
                "imageB": cells(after),
                "label": cells([mask.astype(np.uint8) * np.uint8(255) for mask in changed]),
            }
            write_table(root / folder / f"{part}-{index:05d}-of-{len(files):05d}-1a2b.parquet", columns, group=1)
    return root


def test_folders_hdf5_and_tables_give_identical_samples(tmp_path):
    roots = [folders(tmp_path / "folders"), hdf5_copy(tmp_path / "hdf5"), hub_copy(tmp_path / "hub")]
    for part in ("train", "validation", "test"):
        datasets = [LEVIR_CD_256.open(root, part) for root in roots]
        assert len({len(dataset) for dataset in datasets}) == 1
        for samples in zip(*datasets, strict=True):
            for slot in ("before", "after"):
                stored = [sample.images[slot].values for sample in samples]
                assert all(values.dtype == np.uint8 and (values == stored[0]).all() for values in stored)
            assert all(sample.target == samples[0].target for sample in samples)
    assert (LEVIR_CD_256.open(roots[2], "test")[1].target.labels == pair(5)[2]).all()


def test_tables_are_found_without_the_folder_data(tmp_path):
    assert len(LEVIR_CD_256.open(hub_copy(tmp_path, "."), "train")) == 3


def test_records_are_keyed_by_file_and_row_and_go_to_other_processes(tmp_path):
    for root, key in (
        (hdf5_copy(tmp_path / "hdf5"), "train.h5/000001"),
        (hub_copy(tmp_path / "hub"), "data/train-00001-of-00002-1a2b.parquet/000000"),
    ):
        dataset = pickle.loads(pickle.dumps(LEVIR_CD_256.open(root, "train")))
        assert dataset.records[1].key == key
        assert (dataset[1].images["after"].values == pair(1)[1]).all()
        assert len({record.key for record in LEVIR_CD_256.open(root, "all").records}) == 6


def test_several_threads_read_one_file(tmp_path):
    for root in (hdf5_copy(tmp_path / "hdf5"), hub_copy(tmp_path / "hub")):
        dataset = LEVIR_CD_256.open(root, "all")
        expected = [sample.images["before"].values.sum() for sample in dataset]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(dataset.__getitem__, list(range(6)) * 10))
        assert [sample.images["before"].values.sum() for sample in found] == expected * 10


def test_a_file_that_is_replaced_is_read_anew(tmp_path):
    root = hub_copy(tmp_path / "hub")
    assert (LEVIR_CD_256.open(root, "validation")[0].images["before"].values == pair(3)[0]).all()
    path = root / "data" / "val-00000-of-00001-1a2b.parquet"
    columns = {
        "imageA": cells([pair(7)[0]]),
        "imageB": cells([pair(7)[1]]),
        "label": cells([np.zeros((32, 32), np.uint8)]),
    }
    write_table(path, columns)
    assert (LEVIR_CD_256.open(root, "validation")[0].images["before"].values == pair(7)[0]).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda file: file.pop("imageB"),
            DataError,
            r"train\.h5 lacks the array imageB; it has imageA, img_idx, label",
        ),
        (
            lambda file: (file.pop("label"), file.create_dataset("label", data=np.zeros((2, 4, 4)))),
            DataError,
            "need the same number of rows; found imageA 3, imageB 3, label 2",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path, change, error, message):
    root = hdf5_copy(tmp_path / "hdf5")
    with h5py.File(root / "train.h5", "a") as file:
        change(file)
    with pytest.raises(error, match=message):
        LEVIR_CD_256.open(root)


def test_broken_files_are_told_by_name(tmp_path):
    root = hdf5_copy(tmp_path / "hdf5")
    (root / "train.h5").write_bytes(b"no HDF5")
    with pytest.raises(ImageryUnreadable, match=r"train\.h5 cannot be read as HDF5"):
        LEVIR_CD_256.open(root)
    root = hub_copy(tmp_path / "hub")
    path = root / "data" / "test-00000-of-00001-1a2b.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ImageryUnreadable, match=r"test-00000-of-00001-1a2b\.parquet cannot be read as Parquet"):
        LEVIR_CD_256.open(root)


def test_cells_without_an_image_and_missing_columns_are_told(tmp_path):
    empty = {"bytes": None, "path": "gone.png"}
    write_table(tmp_path / "train-0.parquet", {"imageA": [empty], "imageB": cells([pair(0)[0]]), "label": [empty]})
    with pytest.raises(ImageryUnreadable, match="imageA of row 0 of row group 0 holds no image"):
        LEVIR_CD_256.open(tmp_path, "all")[0]
    write_table(tmp_path / "train-0.parquet", {"before": [empty], "label": [1]})
    with pytest.raises(DataError, match="lacks the column imageA, imageB; it has before, label"):
        LEVIR_CD_256.open(tmp_path, "all")


def chips(count=6):
    return [np.asarray(Image.open(path)).transpose(2, 0, 1) for path in CHIPS[:count]], CHIPS[:count]


HUB_SCENES = replace(EUROSAT_RGB, layout=ImageTable(), splits=RecordedSplit(names=("train",)))


def hub_scenes(root, labels, names=None):
    images, _ = chips(len(labels))
    feature = {"feature": {"names": names}} if isinstance(labels[0], list) else {"names": names}
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})} if names else None
    write_table(root / "train-0.parquet", {"image": cells(images), "label": labels}, metadata=metadata)
    return HUB_SCENES.open(root, "train")


def test_class_numbers_of_a_table_count_the_names_that_the_table_lists(tmp_path):
    turned = list(EUROSAT_RGB.classes[::-1])
    listed = [hub_scenes(tmp_path, [0, 9, 3], turned)[i].target.best.name for i in range(3)]
    assert listed == ["SeaLake", "AnnualCrop", "PermanentCrop"]
    own = [sample.target.best.name for sample in hub_scenes(tmp_path / "own", [0, 9])]
    assert own == ["AnnualCrop", "SeaLake"]
    named = [sample.target.best.name for sample in hub_scenes(tmp_path / "named", ["sea lake", "Forest"])]
    assert named == ["SeaLake", "Forest"]


def test_lists_of_classes_are_all_that_hold(tmp_path):
    dataset = hub_scenes(tmp_path, [[0, 2], [], [1]], ["River", "Forest", "SeaLake"])
    held = [[c for c, s in zip(t.classes, t.scores, strict=True) if s] for t in (sample.target for sample in dataset)]
    assert held == [["River", "SeaLake"], [], ["Forest"]]
    assert not dataset[0].target.exclusive


@pytest.mark.parametrize(
    ("labels", "message"), [([10], "the class '10', which is neither"), (["Sea"], "the class 'Sea'")]
)
def test_classes_outside_the_list_are_told(tmp_path, labels, message):
    with pytest.raises(DataError, match=message):
        hub_scenes(tmp_path, labels)


def write_shard(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in samples:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


SHARDS = replace(
    EUROSAT_RGB,
    layout=TarShards(files={"train": ("*train-*.tar",), "test": ("*test-*.tar",)}),
    splits=RecordedSplit(names=("train", "test")),
)


def shard_samples(numbers, truth=lambda path: ("cls", str(EUROSAT_RGB.classes.index(path.parent.name)).encode())):
    for number in numbers:
        ending, data = truth(CHIPS[number])
        yield f"chips/{number:06d}.jpg", CHIPS[number].read_bytes()
        yield f"chips/{number:06d}.{ending}", data


def test_shards_give_the_chips_with_their_class(tmp_path):
    write_shard(tmp_path / "eurosat-train-000000.tar", shard_samples(range(8)))
    write_shard(tmp_path / "eurosat-train-000001.tar", shard_samples(range(8, 15)))
    write_shard(tmp_path / "eurosat-test-000000.tar", shard_samples(range(15, 20)))
    train = SHARDS.open(tmp_path, "train")
    assert (len(train), len(SHARDS.open(tmp_path, "test"))) == (15, 5)
    assert train.records[9].key == "eurosat-train-000001.tar/chips/000009"
    for sample, path in zip(train, CHIPS, strict=False):
        assert (sample.images["image"].values == np.asarray(Image.open(path)).transpose(2, 0, 1)).all()
        assert sample.target.best.name == path.parent.name


def test_shards_may_say_classes_in_json_and_masks_as_pictures(tmp_path):
    said = SHARDS.layout
    for name, value in (("one", "Forest"), ("many", ["forest", 8])):
        write_shard(
            tmp_path / name / "train-0.tar",
            shard_samples([0], lambda _, value=value: ("json", json.dumps({"scene": value}).encode())),
        )
    spec = replace(SHARDS, layout=replace(said, label="json", json_field="scene"))
    assert spec.open(tmp_path / "one")[0].target.best.name == "Forest"
    assert spec.open(tmp_path / "many")[0].target.scores.nonzero()[0].tolist() == [1, 8]
    mask = np.zeros((64, 64), np.uint8)
    mask[:10] = 255
    write_shard(tmp_path / "mask" / "train-0.tar", shard_samples([0], lambda _: ("seg.png", png(mask))))
    masked = replace(
        LEVIR_CD_256,
        slots=("image",),
        splits=SHARDS.splits,
        layout=TarShards(files={"train": ("train-*.tar",)}, label="seg.png", rule=BINARY),
    )
    target = masked.open(tmp_path / "mask")[0].target
    assert isinstance(target, ClassMap)
    assert (target.labels == (mask > 0)).all()


def test_shards_that_are_incomplete_or_broken_are_told(tmp_path):
    path = write_shard(tmp_path / "train-0.tar", list(shard_samples(range(2)))[:-1])
    with pytest.raises(DataError, match=r"'chips/000001' in .*train-0\.tar lacks one of jpg, cls"):
        SHARDS.open(tmp_path)
    write_shard(path, shard_samples([0], lambda _: ("cls", b"12")))
    with pytest.raises(DataError, match=r"000000\.cls says the class '12'"):
        SHARDS.open(tmp_path)
    path.write_bytes(b"no tar" * 200)
    with pytest.raises(ImageryUnreadable, match=r"train-0\.tar cannot be read as an uncompressed tar"):
        SHARDS.open(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"holds none of the files \*train-\*\.tar, \*test-\*\.tar"):
        SHARDS.open(tmp_path)
