"""Data sets by name."""

import pickle

import pytest

from swath.datasets.registry import dataset, datasets, parse_data_argument
from swath.datasets.splits import FOLDERS_OF_PARTS
from swath.errors import DataError
from swath.imagery.bands import Unit

NAMES = """
    aerial-cars aid bigearthnet-s2 bigearthnet-s2-43 bigearthnet-v2 cdd clcd clcd-256 dior dior-r dior-r-trainval
    dior-trainval dota-v1.0 dota-v1.0-hbb dota-v1.5 dota-v2.0 dsifn-cd dsifn-cd-256 egy-bcd eurosat eurosat-msi
    eurosat-msi-torchgeo eurosat-torchgeo fair1m-v1.0 fair1m-v2.0 fair1m-v2.0-coarse firerisk firerisk-20 firerisk-50
    glh-bridge glh-bridge-hbb gvlm hrplanes hrplanes-airports hrsc2016 hrsc2016-31 isaid levir-cd levir-cd-256
    massachusetts-buildings nwpu-resisc45 nwpu-resisc45-10 nwpu-resisc45-20 nwpu-resisc45-lwganet
    nwpu-resisc45-rsmamba nwpu-resisc45-smarties nwpu-resisc45-torchgeo nwpu-vhr-10 nwpu-vhr-10-catnet oscd-96 rsicd
    s2looking second so2sat so2sat-block so2sat-culture-10 so2sat-random sysu-cd sztaki-airchange tree-crowns
    uc-merced uc-merced-70 uc-merced-torchgeo urban-tree-pairs urban-trees visdrone-det whu-cd
"""


def test_every_declaration_is_complete_and_found_by_its_name():
    assert [spec.name for spec in datasets()] == NAMES.split()
    for spec in datasets():
        assert dataset(spec.name) is spec
        assert len(set(spec.classes)) == len(spec.classes)
        assert spec.title
        assert spec.licence
        assert spec.citation
        assert spec.source
        assert len(spec.file_bands) == len(spec.bands)


def test_bands_units_and_statistics_of_every_declaration_fit_together():
    for spec in datasets():
        assert {band.unit for band in spec.file_bands} == {spec.unit}
        bands = dict.fromkeys(spec.slots, spec.file_bands) | dict(spec.companions)
        for slot, statistics in spec.statistics.items():
            assert len(statistics.mean) == len(statistics.std) == len(bands[slot])
            assert min(statistics.std) > 0
            brightest = {Unit.EIGHT_BIT: 255, Unit.REFLECTANCE: 1, Unit.DN: 10_000, Unit.LINEAR_POWER: 1}
            assert max(statistics.mean) < brightest[bands[slot][0].unit]
        assert set(spec.counts) <= set(FOLDERS_OF_PARTS)


def test_every_declaration_goes_to_other_processes():
    for spec in datasets():
        assert pickle.loads(pickle.dumps(spec)) == spec


def test_unknown_names_suggest_the_nearest_or_list_all():
    with pytest.raises(DataError, match="'euro-sat'; did you mean eurosat"):
        dataset("euro-sat")
    with pytest.raises(DataError, match="there are aerial-cars, aid, bigearthnet-s2"):
        dataset("zzz")


def test_arguments_of_the_command_line(tmp_path):
    spec, root = parse_data_argument("urban-trees=/somewhere/trees=old")
    assert (spec.name, str(root)) == ("urban-trees", "/somewhere/trees=old")
    (tmp_path / "oak").mkdir()
    assert parse_data_argument(str(tmp_path)).spec.classes == ("oak",)
    for text, message in (
        ("trees=x", "no data set 'trees'"),
        ("eurosat=", "names no folder"),
        ("nowhere", "neither NAME=FOLDER nor a folder"),
    ):
        with pytest.raises(DataError, match=message):
            parse_data_argument(text)
