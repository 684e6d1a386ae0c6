import json
import shutil

import pytest

from data.errors import UserError
from data.formats import coco
from tests.conftest import write_coco

OBJECTS = [[(10, 20, 30, 40, 1), (0, 0, 5, 5, 0)], []]


def test_boxes_become_corners_and_ids_become_labels(tmp_path):
    write_coco(tmp_path, OBJECTS)
    classes, records = coco.read(tmp_path, "train")
    assert classes == ["cat", "dog"] and len(records) == 2
    assert records.boxes.tolist() == [[10, 20, 40, 60], [0, 0, 5, 5]] and records.labels.tolist() == [1, 0]


def test_ids_with_gaps_in_any_order_are_kept(tmp_path):
    write_coco(tmp_path, [[(1, 1, 9, 9, 0), (1, 1, 9, 9, 1), (1, 1, 9, 9, 2)]], names=("a", "b", "c"), ids=(90, 3, 17))
    classes, records = coco.read(tmp_path, "train")
    assert classes == ["b", "c", "a"] and records.category_ids == (3, 17, 90)
    assert records.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("place", ("images/train2017", "images/train", "train", "images"))
def test_images_are_found_where_people_put_them(tmp_path, place):
    write_coco(tmp_path, OBJECTS)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    shutil.move(tmp_path / "train2017", tmp_path / place)
    assert coco.read(tmp_path, "train")[1].path(0) == str(tmp_path / place / "0.jpg")


def test_crowds_are_to_be_ignored(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    content["annotations"][0]["iscrowd"] = 1
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    assert coco.read(tmp_path, "train")[1].ignore.tolist() == [True, False]


def test_without_val_one_image_in_five_is_held_out(tmp_path):
    write_coco(tmp_path, [[]] * 30)
    (_, train), (_, val) = coco.read(tmp_path, "train"), coco.read(tmp_path, "val")
    assert len(train) == 30 and 0 < len(val) < 15 and "held out" in val.notes[0]


def test_a_choice_of_classes_keeps_all_images(tmp_path):
    write_coco(tmp_path, OBJECTS)
    classes, records = coco.read(tmp_path, "train", names=["dog"])
    assert classes == ["dog"] and len(records) == 2 and records.labels.tolist() == [0] and records.category_ids == (2,)


def test_a_missing_dataset_says_where_it_looked_and_what_it_expects(tmp_path):
    with pytest.raises(UserError, match=rf"no such folder: {tmp_path}/none; expected annotations/.*tools.download coco"):
        coco.read(tmp_path / "none", "train")


@pytest.mark.parametrize("change, problem", (
    (dict(image_id=99), "annotation 1: no image has the id 99"),
    (dict(category_id=99), "annotation 1: no category has the id 99"),
    (dict(bbox=[1, 2, 3]), "annotation 1: its bbox is not left, top, width, height"),
))
def test_an_annotation_of_something_unknown_is_a_problem_and_left_out(tmp_path, change, problem):
    content = write_coco(tmp_path, OBJECTS)
    content["annotations"][0] |= change
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    _, records = coco.read(tmp_path, "train")
    assert len(records.problems) == 1 and records.problems[0].endswith(problem) and len(records.boxes) == 1


@pytest.mark.parametrize("text, message", (("{", "not valid json"), ("{}", "no images and no annotations")))
def test_a_broken_file_is_named(tmp_path, text, message):
    write_coco(tmp_path, OBJECTS)
    (tmp_path / "annotations/instances_train2017.json").write_text(text)
    with pytest.raises(UserError, match=f"instances_train2017.json: not .*{message}|{message}"):
        coco.read(tmp_path, "train")
