import json
import shutil

import numpy as np
import pytest
from pycocotools.mask import encode

from data.folder import Folder
from data.formats import coco
from data.reading import read_folder, read_records
from data.text import UserError
from tests.conftest import read_split, write_coco, write_image
from tests.scripts import run_script
from utils.recipes import RECIPES

OBJECTS = [[(10, 20, 30, 40, 1), (0, 0, 5, 5, 0)], []]
FILE = "annotations/instances_train2017.json"


def change(root, content):
    (root / FILE).write_text(json.dumps(content))


@pytest.mark.parametrize("name", ("coco", "auto"))
@pytest.mark.parametrize("file", ("annotations/instances_train2017.json", "train.json"))
@pytest.mark.parametrize("length", (0, 1, 60))
def test_a_file_of_a_split_that_is_cut_short_is_not_left_out(tmp_path, name, file, length):
    write_coco(tmp_path, [[(10, 20, 30, 40, 1)]])
    write_coco(tmp_path, [[(10, 20, 30, 40, 1)]], split="val")
    path = tmp_path / "annotations/instances_train2017.json"
    path.rename(tmp_path / file)
    (tmp_path / file).write_text((tmp_path / file).read_text()[:length])
    # What is whole, and of another kind, is left out as before.
    (tmp_path / "train_results.json").write_text("[]")
    with pytest.raises(UserError, match=f"{file}.*not valid json"):
        read_folder(name, tmp_path)


def test_boxes_become_corners_and_ids_become_labels(tmp_path):
    write_coco(tmp_path, OBJECTS)
    classes, records = read_split("coco", tmp_path)
    assert classes == ["cat", "dog"] and len(records) == 2
    assert records.boxes.tolist() == [[10, 20, 40, 60], [0, 0, 5, 5]]
    assert records.labels.tolist() == [1, 0]


def test_ids_with_gaps_in_any_order_are_kept(tmp_path):
    boxes = [(1, 1, 9, 9, 0), (1, 1, 9, 9, 1), (1, 1, 9, 9, 2)]
    write_coco(tmp_path, [boxes], names=("a", "b", "c"), ids=(90, 3, 17))
    classes, records = read_split("coco", tmp_path)
    assert classes == ["b", "c", "a"] and records.category_ids == (3, 17, 90)
    assert records.labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("place", ("images/train2017", "images/train", "train", "images"))
def test_images_are_found_where_people_put_them(tmp_path, place):
    write_coco(tmp_path, OBJECTS)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    shutil.move(tmp_path / "train2017", tmp_path / place)
    assert read_split("coco", tmp_path)[1].path(0) == str(tmp_path / place / "0.jpg")


def test_equal_names_in_two_splits_are_each_split_s_own_images(tmp_path):
    write_coco(tmp_path, OBJECTS)
    write_coco(tmp_path, OBJECTS, split="val")
    for split in ("train", "val"):
        assert read_split("coco", tmp_path, split)[1].path(0) == str(
            tmp_path / f"{split}2017/0.jpg"
        )
    (tmp_path / "val2017/0.jpg").unlink()
    problems = read_folder("coco", tmp_path).problems
    assert len(problems) == 1 and "no such image: 0.jpg" in problems[0]


def test_crowds_are_to_be_ignored(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    content["annotations"][0]["iscrowd"] = 1
    change(tmp_path, content)
    assert read_split("coco", tmp_path)[1].ignore.tolist() == [True, False]


def test_a_choice_of_classes_keeps_all_images(tmp_path):
    write_coco(tmp_path, OBJECTS)
    classes, records = read_split("coco", tmp_path, names=["dog"])
    assert classes == ["dog"] and len(records) == 2
    assert records.labels.tolist() == [0] and records.category_ids == (2,)


def test_a_class_that_is_not_there_is_an_error_with_those_that_are(tmp_path):
    write_coco(tmp_path, OBJECTS)
    with pytest.raises(UserError, match="no class 'dgo'; there are cat, dog"):
        read_split("coco", tmp_path, names=["dgo"])


def test_a_missing_dataset_says_where_it_looked_and_what_it_expects(tmp_path):
    with pytest.raises(UserError, match=f"no such folder: {tmp_path}/none"):
        read_split("coco", tmp_path / "none")
    with pytest.raises(
        UserError, match="no COCO annotations in .*; expected .*tools.download coco"
    ):
        read_split("coco", tmp_path)


@pytest.mark.parametrize(
    "wrong, problem",
    (
        (dict(image_id=99), "annotations[0]: no image has the id 99"),
        (dict(category_id=99), "annotations[0]: no category has the id 99"),
        (dict(category_id=[1]), "annotations[0]: "),
        (dict(bbox=[1, 2, 3]), "annotations[0]: its bbox is not [left, top, width, height]"),
        (dict(bbox=None), "annotations[0]: its bbox is not [left, top, width, height]"),
        (dict(bbox=[1, 2, "x", 4]), "annotations[0]: 'x' is not a number"),
        (dict(bbox=[1, 2, float("nan"), 4]), "annotations[0]: nan is not a length in pixels"),
    ),
)
def test_an_annotation_that_cannot_be_used_is_a_problem_and_left_out(tmp_path, wrong, problem):
    content = write_coco(tmp_path, OBJECTS)
    content["annotations"][0] |= wrong
    change(tmp_path, content)
    _, records = read_split("coco", tmp_path)
    assert len(records.problems) == 1 and len(records.boxes) == 1
    assert problem in records.problems[0]


def test_numbers_written_as_text_are_numbers(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    content["annotations"][0]["bbox"] = ["10", "20", "30", "40"]
    change(tmp_path, content)
    assert read_split("coco", tmp_path)[1].boxes[0].tolist() == [10, 20, 40, 60]


def test_without_a_bbox_the_box_lies_around_the_segmentation(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    del content["annotations"][0]["bbox"]
    content["annotations"][0]["segmentation"] = [[10, 20, 40, 25, 30, 60]]
    change(tmp_path, content)
    assert read_split("coco", tmp_path)[1].boxes[0].tolist() == [10, 20, 40, 60]


@pytest.mark.parametrize(
    "text, message",
    (
        ("{", "line 1: not valid json"),
        ("{}", "no images and no annotations"),
        ('{"images": 3, "annotations": [], "categories": []}', "images is not a list"),
        ('{"images": [], "annotations": [], "categories": []}', "it lists no categories"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1}]}',
            "categories.0. has no name",
        ),
        (
            '{"images": [{"id": 1}, {"id": 1}], "annotations": [], '
            '"categories": [{"id": 1, "name": "a"}]}',
            "images.1.: its id is there twice",
        ),
        (
            '{"images": [], "annotations": [], '
            '"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "categories.1.: its id, 1, is there twice",
        ),
    ),
)
def test_a_broken_file_is_named(tmp_path, text, message):
    write_coco(tmp_path, OBJECTS)
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=f"instances_train2017.json.*{message}"):
        read_folder("coco", tmp_path)


def test_a_class_that_is_listed_twice_is_one_class_and_said(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    content["categories"].insert(0, dict(id=0, name="cat", supercategory="none"))
    content["annotations"][1]["category_id"] = 0
    change(tmp_path, content)
    classes, records = read_split("coco", tmp_path)
    assert classes == ["cat", "dog"] and records.category_ids == (1, 2)
    assert records.labels.tolist() == [1, 0]
    assert records.notes[0].endswith("2017.json: two categories are named 'cat' and are one class")


def test_blanks_around_the_name_of_a_class_are_a_slip(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    content["categories"][0]["name"] = " cat\n"
    content["categories"].append(dict(id=3, name="dog "))
    content["annotations"][0]["category_id"] = 3
    change(tmp_path, content)
    classes, records = read_split("coco", tmp_path)
    assert classes == ["cat", "dog"] and len(records.boxes) == 2
    assert records.notes[0].endswith("two categories are named 'dog' and are one class")


def test_a_missing_image_is_named_with_the_file_that_names_it(tmp_path):
    write_coco(tmp_path, OBJECTS)
    (tmp_path / "train2017/1.jpg").unlink()
    files = (tmp_path / FILE, None, tmp_path / "train2017")
    for source in (read_folder("coco", tmp_path), coco.read_files(*files)):
        assert source.problems == [f"{tmp_path / FILE}: no such image: 1.jpg"]


def test_single_files_are_read_as_train_and_val(tmp_path):
    write_coco(tmp_path, OBJECTS)
    write_coco(tmp_path, OBJECTS[:1], split="val")
    files = [tmp_path / f"annotations/instances_{split}2017.json" for split in ("train", "val")]
    folders = [tmp_path / "train2017", tmp_path / "val2017"]
    source = coco.read_files(*files, *folders)
    assert {split: len(entries) for split, entries in source.splits.items()} == dict(train=2, val=1)
    assert source.splits["val"][0].path == str(tmp_path / "val2017/0.jpg")
    assert list(coco.read_files(files[0], images=folders[0]).splits) == ["all"]


def test_two_files_that_number_classes_differently_are_an_error(tmp_path):
    write_coco(tmp_path, OBJECTS)
    write_coco(tmp_path, OBJECTS, split="val", ids=(2, 1))
    with pytest.raises(UserError, match="category .* has another id in another file"):
        read_folder("coco", tmp_path)


def test_of_two_years_the_later_is_read_and_the_other_named(tmp_path):
    write_coco(tmp_path, OBJECTS)
    shutil.copy(tmp_path / FILE, tmp_path / "annotations/instances_train2014.json")
    source = read_folder("coco", tmp_path)
    assert len(source.splits["train"]) == 2
    assert source.notes == ["not used: annotations/instances_train2014.json"]


def test_roboflow_s_export_is_read_as_it_is(tmp_path):
    for folder in ("train", "valid", "test"):
        write_image(tmp_path / folder / "a_jpg.rf.1.jpg")
        content = dict(
            images=[dict(id=0, file_name="a_jpg.rf.1.jpg", height=64, width=96)],
            annotations=[dict(id=0, image_id=0, category_id=1, bbox=[1, 2, 30, 40], area=1200)],
            categories=[
                dict(id=0, name="fruits"),
                dict(id=1, name="apple", supercategory="fruits"),
            ],
        )
        (tmp_path / folder / "_annotations.coco.json").write_text(json.dumps(content))
    classes, records = read_split("coco", tmp_path, "val")
    assert classes == ["apple"] and records.boxes.tolist() == [[1, 2, 31, 42]]
    assert records.path(0) == str(tmp_path / "valid/a_jpg.rf.1.jpg")
    assert "classes without any object, left out: fruits" in records.notes


def test_files_of_other_tasks_are_known_by_their_own_names_alone(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    (tmp_path / "stuff_photos").mkdir()
    for name in ("stuff_photos/boxes.json", "annotations/stuff_val2017.json"):
        (tmp_path / name).write_text(json.dumps(content))
    assert coco.recognise(Folder(tmp_path)) == [FILE, "stuff_photos/boxes.json"]


@pytest.mark.parametrize("order", (0, 1, 2))
def test_a_long_file_is_recognised_by_its_ends_alone(tmp_path, monkeypatch, order):
    content = write_coco(tmp_path, [[(1, 2, 30, 40, 0)] * 50] * 50)
    keys = ("images", "annotations", "categories")
    keys = keys[order:] + keys[:order]
    change(tmp_path, {key: content[key] for key in keys})
    monkeypatch.setattr("data.text.END_SIZE", 2500)
    assert coco.recognise(Folder(tmp_path)) == [FILE]
    change(tmp_path, dict(info="x" * 3000) | content | dict(licenses="x" * 3000))
    assert coco.recognise(Folder(tmp_path)) == []


def test_keypoints_alone_are_read_by_their_boxes(tmp_path):
    write_coco(tmp_path, OBJECTS)
    (tmp_path / FILE).rename(tmp_path / "annotations/person_keypoints_default.json")
    assert "is read as --dataset coco" in read_folder("auto", tmp_path).notes[0]


@pytest.mark.parametrize("numbers", ((2**70, -5), ("img-0", 2), ("1", 1), (1.0, 2)))
def test_image_ids_return_as_they_came(tmp_path, numbers):
    content = write_coco(tmp_path, OBJECTS)
    for image, number in zip(content["images"], numbers):
        image["id"] = number
    for item in content["annotations"]:
        item["image_id"] = numbers[item["image_id"]]
    change(tmp_path, content)
    records = read_split("coco", tmp_path)[1]
    ids = [records.image_ids[i] for i in range(2)]
    assert ids == list(numbers) and not any(isinstance(number, float) for number in ids)


def test_a_number_that_is_written_as_text_is_the_number(tmp_path):
    content = write_coco(tmp_path, OBJECTS)
    content["annotations"] = [
        item | dict(image_id=str(item["image_id"]), category_id=str(item["category_id"]))
        for item in content["annotations"]
    ]
    content["annotations"][0]["iscrowd"] = "0"
    change(tmp_path, content)
    records = read_split("coco", tmp_path)[1]
    assert records.labels.tolist() == [1, 0] and not records.ignore.any()


@pytest.mark.parametrize("rotation", (90, -90.0, 270.0, "450"))
def test_the_box_of_a_rotated_rectangle_of_cvat_lies_around_it(tmp_path, rotation):
    content = write_coco(tmp_path, [[(30, 20, 20, 10, 0), (1, 2, 3, 4, 0), (5, 6, 7, 8, 0)]])
    first, second, third = content["annotations"]
    first |= dict(attributes=dict(rotation=rotation), segmentation=[])
    # The bbox of a polygon is around it already, and attributes may be anything.
    second |= dict(attributes=dict(rotation=45), segmentation=[[1, 2, 4, 2, 1, 6]])
    third |= dict(attributes=dict(rotation="left"))
    change(tmp_path, content)
    boxes = read_split("coco", tmp_path)[1].boxes
    np.testing.assert_allclose(boxes, [[35, 15, 45, 35], [1, 2, 4, 6], [5, 6, 12, 14]], atol=1e-5)


def test_corners_in_the_place_of_boxes_are_told_by_their_areas(tmp_path):
    content = write_coco(tmp_path, [[(10, 20, 30, 40, 0)] * 6])
    for item in content["annotations"]:
        item |= dict(bbox=[10, 20, 40, 60], area=1200)
    change(tmp_path, content)
    with pytest.raises(UserError, match="train2017.json: its bboxes look like corners"):
        read_folder("coco", tmp_path)


MASK = np.zeros((64, 96), np.uint8, order="F")
MASK[20:60, 10:40] = 1
COUNTS = [64 * 10 + 20] + [40, 24] * 29 + [40, 64 * 56 + 4]


@pytest.mark.parametrize("counts", (encode(MASK)["counts"].decode(), COUNTS))
def test_without_a_bbox_the_mask_says_where_the_object_is(tmp_path, counts):
    content = write_coco(tmp_path, [[(1, 1, 5, 5, 0)]])
    content["annotations"][0] |= dict(bbox=[], segmentation=dict(size=[64, 96], counts=counts))
    change(tmp_path, content)
    assert read_split("coco", tmp_path)[1].boxes.tolist() == [[10, 20, 40, 60]]


@pytest.mark.parametrize(
    "mask", ({}, {"size": [1], "counts": [1]}, {"size": [9, 9], "counts": [-1]})
)
def test_a_broken_mask_is_a_problem_that_names_its_place(tmp_path, mask):
    content = write_coco(tmp_path, OBJECTS)
    content["annotations"][1] |= dict(bbox=[], segmentation=mask | dict(x=0))
    change(tmp_path, content)
    (problem,) = read_folder("coco", tmp_path).problems
    assert problem.endswith("annotations[1]: its segmentation is no mask in run-length encoding")


@pytest.mark.parametrize("segmentation", ([[10, 20, 40, 20, 25, 60]], [10, 20, 40, 20, 25, 60]))
def test_without_a_bbox_the_polygon_says_where_the_object_is(tmp_path, segmentation):
    content = write_coco(tmp_path, [[(1, 1, 9, 9, 0)]])
    content["annotations"][0] |= dict(bbox=[], segmentation=segmentation)
    change(tmp_path, content)
    assert read_split("coco", tmp_path)[1].boxes.tolist() == [[10, 20, 40, 60]]


def test_a_dataset_of_crowds_alone_is_one_line(tmp_path):
    content = write_coco(tmp_path, OBJECTS * 4)
    for item in content["annotations"]:
        item["iscrowd"] = 1
    change(tmp_path, content)
    recipe = RECIPES["shapes"] | dict(dataset="coco", root=str(tmp_path))
    with pytest.raises(UserError, match=r"all \d+ objects in train are ignored: crowds"):
        read_records(recipe)
    printed = run_script("tools/check.py", "--root", tmp_path, code=1)
    assert "are ignored: crowds" in printed


def test_an_id_of_a_category_that_is_written_as_a_float_is_the_number(tmp_path):
    content = write_coco(tmp_path, [[(1, 2, 3, 4, 0)]], names=("cat",))
    expected = [repr(item["id"]) for item in content["categories"]]
    for item in content["categories"]:
        item["id"] = float(item["id"])
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    _, records = read_split("coco", tmp_path)
    assert [repr(number) for number in records.category_ids] == expected
    assert len(records.boxes) == 1


def test_an_image_of_another_split_s_folder_is_found_where_its_path_leads(tmp_path):
    """A val that was cut from the images of train."""
    write_coco(tmp_path, [[(1, 2, 30, 40, 0)]] * 3)
    content = write_coco(tmp_path, [[(1, 2, 30, 40, 0)]] * 2, "val")
    content["images"][0]["file_name"] = "train2017/2.jpg"
    (tmp_path / "annotations/instances_val2017.json").write_text(json.dumps(content))
    source = read_folder("coco", tmp_path)
    paths = [entry.path for entry in source.splits["val"]]
    assert not source.problems
    assert paths == [str(tmp_path / name) for name in ("train2017/2.jpg", "val2017/1.jpg")]


def test_an_image_that_val_lacks_is_not_that_of_train_with_the_same_path_in_it(tmp_path):
    """Both call theirs images/0.jpg; only train has images/2.jpg."""
    for split, count in (("train", 3), ("val", 2)):
        content = write_coco(tmp_path, [[(1, 2, 30, 40, 0)]] * count, split)
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}2017").rename(tmp_path / split / "images")
        if split == "val":
            content["images"].append(content["images"][0] | dict(id=9, file_name="2.jpg"))
        for image in content["images"]:
            image["file_name"] = f"images/{image['file_name']}"
        (tmp_path / f"{split}/annotations.json").write_text(json.dumps(content))
        (tmp_path / f"annotations/instances_{split}2017.json").unlink()
    source = read_folder("coco", tmp_path)
    assert [problem.split(": ", 1)[1] for problem in source.problems] == [
        "no such image: images/2.jpg"
    ]
    assert {split: len(part) for split, part in source.splits.items()} == dict(train=3, val=2)


def test_files_are_read_however_deep_they_lie(tmp_path):
    write_coco(tmp_path / "a", [[(1, 2, 30, 40, 0)]], "train")
    write_coco(tmp_path / "p/q/r/s/x/y/z/w/b", [[(1, 2, 30, 40, 0)]], "val")
    splits = read_folder("coco", tmp_path).splits
    assert {split: len(part) for split, part in splits.items()} == dict(train=1, val=1)
