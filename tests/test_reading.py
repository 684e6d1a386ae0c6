import json

import cv2
import numpy as np
import pytest

import train
from data.formats.voc import CLASSES
from data.reading import read_records, read_source
from data.text import UserError
from data.transforms import RetinaNetAugmentation, SSDAugmentation
from tests.conftest import write_coco, write_image
from utils.build import build_transform, eval_dataset
from utils.recipes import RECIPES

OBJECTS = [[(10, 20, 30, 40, 1)], [(0, 0, 50, 50, 0)]] * 6


@pytest.fixture
def recipe(tmp_path):
    write_coco(tmp_path, OBJECTS)
    write_coco(tmp_path, OBJECTS[:3], split="val")
    return RECIPES["shapes"] | dict(dataset="coco", root=str(tmp_path))


@pytest.mark.parametrize(
    "model, kind", (("retinanet", RetinaNetAugmentation), ("ssd300", SSDAugmentation))
)
def test_only_a_training_is_augmented(recipe, model, kind):
    recipe |= dict(model=model)
    train_dataset, val_dataset = train.make_datasets(recipe, *read_records(recipe))
    assert type(train_dataset.transform) is kind
    assert type(val_dataset.transform) is type(build_transform(recipe)) is not kind
    for split in ("train", "val", "all"):
        dataset = eval_dataset(recipe, split, ["cat", "dog"])
        assert type(dataset.transform) is not kind
    plain, _ = train.make_datasets(recipe | dict(augment=False), *read_records(recipe))
    assert type(plain.transform) is not kind


def test_every_split_is_what_its_name_says(recipe):
    _, train_records, val_records = read_records(recipe)
    assert (len(train_records), len(val_records)) == (12, 3)
    counts = [len(eval_dataset(recipe, split, ["cat", "dog"])) for split in ("train", "val", "all")]
    assert counts == [12, 3, 15]


def broken_yolo(root):
    (root / "classes.txt").write_text("cat")
    for i in range(6):
        write_image(root / f"{i}.jpg", seed=i)
        (root / f"{i}.txt").write_text(f"0 .5 .5 .4 .4\n{i // 4} .3 .3 .2 .2\n")


def broken_csv(root):
    rows = []
    for i in range(6):
        write_image(root / f"{i}.jpg", seed=i)
        rows += [f"{i}.jpg,1,2,30,40,cat", f"{i}.jpg,5,6,{'x' if i >= 4 else 20},30,cat"]
    (root / "train.csv").write_text("\n".join(rows))


def broken_coco(root):
    content = write_coco(root, [[(1, 1, 9, 9, 0), (20, 20, 9, 9, 0)]] * 6)
    for item in content["annotations"][9::2]:
        item["bbox"] = None
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))


def broken_widerface(root):
    lines = []
    for i in range(6):
        write_image(root / f"{i}.jpg", seed=i)
        lines += [f"{i}.jpg", "2", "1 2 30 40 0 0 0 0 0 0", f"5 6 {'x' if i >= 4 else 9} 9 0 0 0 0"]
    (root / "wider_face_train_bbx_gt.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("layout", (broken_yolo, broken_csv, broken_coco, broken_widerface))
def test_an_image_with_an_object_that_cannot_be_read_is_left_out(tmp_path, layout):
    layout(tmp_path)
    recipe = RECIPES["shapes"] | dict(dataset="auto", root=str(tmp_path), skip_bad=True)
    _, *splits = read_records(recipe)
    assert all((np.diff(records.offsets) == 2).all() for records in splits)
    assert sum(map(len, splits)) == 4
    (note,) = (note for note in splits[0].notes if "(2 problems, which" in note)
    assert note.endswith("4 images are left")


def test_labels_are_numbered_as_the_detector_s_classes(recipe):
    records = eval_dataset(recipe, "val", ["bird", "dog", "cat"]).records
    assert records.labels.tolist() == [1, 2, 1]


def test_without_validation_there_are_no_records_of_it(recipe):
    classes, train_records, val_records = read_records(recipe | dict(val_share=0))
    assert val_records is None and len(train_records) == 15
    assert train.make_datasets(recipe, classes, train_records, None)[1] is None


def test_other_classes_than_asked_for_are_left_out(recipe):
    classes, records, _ = read_records(recipe | dict(classes=("dog",)))
    assert classes == ["dog"] and set(records.labels.tolist()) == {0}
    with pytest.raises(UserError, match="no class 'dgo'; there are cat, dog"):
        read_records(recipe | dict(classes=("dgo",)))


def test_a_class_that_is_asked_for_twice_is_one(recipe):
    recipe |= dict(classes=("cat", "cat"))
    assert read_records(recipe)[0] == ["cat"]


@pytest.mark.parametrize("name", ("data.yaml", "all.json"))
def test_a_file_of_a_dataset_stands_for_its_folder(tmp_path, name):
    write_coco(tmp_path, OBJECTS)
    (tmp_path / "annotations/instances_train2017.json").rename(tmp_path / "all.json")
    (tmp_path / "data.yaml").write_text("names: [cat]")
    recipe = RECIPES["retinanet_custom"] | dict(dataset="auto", root=str(tmp_path / name))
    assert read_source(recipe).classes == ["cat", "dog"]


def test_a_training_says_which_pictures_of_both_splits_look_alike(tmp_path):
    write_coco(tmp_path, OBJECTS)
    write_coco(tmp_path, OBJECTS[:2], split="val")
    image = cv2.imread(str(tmp_path / "train2017/3.jpg"))
    cv2.imwrite(str(tmp_path / "val2017/0.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 50])
    recipe = RECIPES["retinanet_custom"] | dict(dataset="coco", root=str(tmp_path))
    (note,) = (note for note in read_records(recipe)[1].notes if "look alike" in note)
    assert ": 1, of " in note and "val2017/0.jpg and " in note and "train2017/3.jpg" in note


@pytest.mark.parametrize("stored", ((), ("cat", "dog")))
def test_classes_of_a_checkpoint_may_have_lost_their_objects_but_not_their_names(tmp_path, stored):
    recipe = RECIPES["shapes"] | dict(dataset="coco", root=str(tmp_path), classes=stored)
    for listed in (("cat", "dog"), ("cat",)):
        write_coco(tmp_path, [[(10, 20, 30, 40, 0)]] * 6, names=listed)
        classes, records, _ = read_records(recipe, ["cat", "dog"])
        assert classes == ["cat", "dog"] and set(records.labels.tolist()) == {0}
        assert not any("without any object" in note for note in records.notes)
        lacks_dog = "classes that the data do not have: dog" in records.notes
        assert lacks_dog == ("dog" not in listed)
    write_coco(tmp_path, [[(10, 20, 30, 40, 0)]] * 6, names=("hound",))
    message = "no object of any class" if stored else "hound; it knows cat, dog"
    with pytest.raises(UserError, match=message):
        read_records(recipe, ["cat", "dog"])


def test_where_no_object_is_left_the_error_says_what_became_of_them(tmp_path):
    # In parts of the image instead of pixels.
    write_coco(tmp_path, [[(0.1, 0.2, 0.3, 0.4, 0)]] * 4)
    recipe = RECIPES["retinanet_custom"] | dict(dataset="coco", root=str(tmp_path))
    with pytest.raises(UserError, match="no object of any class in train; dropped boxes of no"):
        read_records(recipe)


def test_a_checkpoint_need_not_know_classes_of_voc_that_no_object_has(tmp_path):
    for i, name in enumerate(CLASSES[:15]):
        write_image(tmp_path / f"{i}.jpg", seed=i)
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
        item = f"<object><name>{name}</name>{box}</object>"
        (tmp_path / f"{i}.xml").write_text(f"<annotation>{item}</annotation>")
    recipe = RECIPES["shapes"] | dict(dataset="voc", root=str(tmp_path))
    assert read_records(recipe)[0] == list(CLASSES)
    assert read_records(recipe, list(CLASSES[:15]))[0] == list(CLASSES[:15])


def test_detections_of_a_class_that_the_data_do_not_list_are_left_out_whatever_was_typed(tmp_path):
    write_coco(tmp_path, [[(10, 20, 30, 40, 0)]] * 6, names=("cat",), ids=(1,))
    for typed in ((), ("cat",), ("cat", "dog")):
        recipe = RECIPES["shapes"] | dict(dataset="coco", root=str(tmp_path), classes=typed)
        assert eval_dataset(recipe, "all", ["cat", "dog"]).records.ignored_labels == (1,)


@pytest.mark.parametrize("dataset", ("voc", "yolo", "shapes"))
def test_a_file_of_annotations_is_of_no_format_that_has_folders(tmp_path, dataset):
    path = tmp_path / "a.json"
    recipe = RECIPES["retinanet_custom"] | dict(dataset=dataset, annotations=str(path))
    with pytest.raises(UserError, match=f"--dataset {dataset}: with --annotations, it must be"):
        read_records(recipe)


def test_images_that_are_missing_are_left_out_if_asked(tmp_path):
    write_coco(tmp_path, [[(1, 1, 9, 9, 0)]] * 6)
    next(tmp_path.rglob("*.jpg")).unlink()
    recipe = RECIPES["shapes"] | dict(dataset="coco", root=str(tmp_path), skip_bad=True)
    _, *splits = read_records(recipe)
    assert sum(map(len, splits)) == 5
    (note,) = (note for note in splits[0].notes if "(1 problem, which" in note)
    assert note.endswith("5 images are left")


@pytest.mark.parametrize("asked", ((), ("cat",)))
def test_an_evaluation_without_a_common_class_is_an_error(tmp_path, asked):
    write_coco(tmp_path, [[(10, 20, 30, 40, 0)]] * 6, names=("hound",))
    recipe = RECIPES["shapes"] | dict(dataset="coco", root=str(tmp_path), classes=asked)
    with pytest.raises(UserError, match="no class in common with cat.*; it has hound"):
        eval_dataset(recipe, "all", ["cat", "dog"])


def test_images_without_objects_can_be_evaluated_whatever_the_classes(tmp_path):
    write_image(tmp_path / "a.jpg")
    (tmp_path / "a.csv").write_text("a.jpg,,,,,")
    recipe = RECIPES["shapes"] | dict(dataset="csv", root=str(tmp_path), classes=())
    assert len(eval_dataset(recipe, "all", ["cat"])) == 1


def test_a_file_of_annotations_in_a_recipe_tells_its_format_by_its_ending(tmp_path):
    write_coco(tmp_path, [[(10, 20, 30, 40, 0)]] * 6)
    path = tmp_path / "annotations/instances_train2017.json"
    recipe = RECIPES["shapes"] | dict(
        dataset="auto", annotations=str(path), images=str(tmp_path / "train2017")
    )
    assert len(read_source(recipe).entries()) == 6
