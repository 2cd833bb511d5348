"""Data sets by name."""

import pytest

from swath.datasets.registry import dataset, datasets, parse_data_argument
from swath.errors import DataError


def test_every_declaration_is_complete_and_found_by_its_name():
    assert len(datasets()) == 6
    for spec in datasets():
        assert dataset(spec.name) is spec
        assert len(set(spec.classes)) == len(spec.classes)
        assert spec.title
        assert spec.licence
        assert spec.citation
        assert spec.source
        assert len(spec.file_bands) == len(spec.bands)


def test_unknown_names_suggest_the_nearest_or_list_all():
    with pytest.raises(DataError, match="'euro-sat'; did you mean eurosat"):
        dataset("euro-sat")
    with pytest.raises(DataError, match="there are aid, eurosat, massachusetts-buildings"):
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
