import json
import shutil

import pytest

from data.reading import read_folder
from data.text import UserError
from tests.conftest import read_split, write_image

POLYGONS = [
    ("car", [[10, 20], [30, 25], [20, 40]]),
    ("cargroup", [[0, 0], [5, 5]]),
    ("road", [[0, 0], [95, 63]]),
    ("bicycle", [[-4, 50], [12, 70]]),
]


def write(root, text):
    place = root / "gtFine/val/city/city_1_gtFine_polygons.json"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    write_image(root / "leftImg8bit/val/city/city_1_leftImg8bit.png")


def test_boxes_lie_around_polygons_and_groups_are_ignored(tmp_path):
    objects = [dict(label=label, polygon=points) for label, points in POLYGONS]
    write(tmp_path, json.dumps(dict(imgHeight=64, imgWidth=96, objects=objects)))
    classes, records = read_split("cityscapes", tmp_path, "val")
    assert len(classes) == 8 and [classes[i] for i in records.labels] == ["car", "car", "bicycle"]
    assert records.boxes.tolist() == [[10, 20, 31, 41], [0, 0, 6, 6], [0, 50, 13, 64]]
    assert records.ignore.tolist() == [False, True, False]
    assert records.path(0).endswith("city_1_leftImg8bit.png")


def test_rough_polygons_are_read_where_there_are_no_others(tmp_path):
    objects = [dict(label=label, polygon=points) for label, points in POLYGONS]
    write(tmp_path, json.dumps(dict(imgHeight=64, imgWidth=96, objects=objects)))
    coarse = tmp_path / "gtCoarse/val/city/city_1_gtCoarse_polygons.json"
    coarse.parent.mkdir(parents=True)
    coarse.write_text(json.dumps(dict(imgHeight=64, imgWidth=96, objects=objects[:1])))
    assert len(read_split("auto", tmp_path, "val")[1].labels) == 3
    shutil.rmtree(tmp_path / "gtFine")
    assert len(read_split("auto", tmp_path, "val")[1].labels) == 1
    assert len(read_split("cityscapes", tmp_path, "val")[1].labels) == 1


@pytest.mark.parametrize("text", ("{", "[]", '{"imgHeight": 1, "imgWidth": 1, "objects": [{}]}'))
def test_a_broken_file_is_named(tmp_path, text):
    write(tmp_path, text)
    (problem,) = read_folder("cityscapes", tmp_path).problems
    assert "city_1_gtFine_polygons.json" in problem and "not " in problem


def test_a_folder_without_polygons_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="no polygons in .*; expected gtFine"):
        read_folder("cityscapes", tmp_path)
