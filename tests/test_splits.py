"""No image is ever in train and in val, however a dataset says what they are."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from data.reading import read_folder
from data.records import Entry
from data.splits import (
    choose_splits,
    disjoint,
    file_split,
    folder_split,
    identity,
    split_in,
    train_val_split,
)
from data.text import UserError
from tests.conftest import write_coco, write_image
from tests.test_voc import write_list, write_voc


def entries(*names, folder="somewhere"):
    return [Entry(f"{folder}/{name}.jpg", (9, 9), name, []) for name in names]


def names(chosen):
    return sorted(entry.image_id for entry in chosen)


MANY = [f"image{i}" for i in range(50)]


@pytest.mark.parametrize(
    "name, split",
    (
        ("train", "train"),
        ("train2017", "train"),
        ("my_train-set", "train"),
        ("instances_val2014", "val"),
        ("Valid", "val"),
        ("trainval", "trainval"),
        ("testing", "test"),
        ("trainer", None),
        ("latest", None),
        ("values", None),
    ),
)
def test_a_name_speaks_of_a_split_by_whole_words(name, split):
    assert split_in(name) == split


def test_an_image_s_own_name_says_nothing_and_the_last_folder_counts():
    assert folder_split("train/test_1.jpg") == "train"
    assert folder_split("train/valid/a.jpg") == "val" and folder_split("a/b.jpg") is None
    assert file_split("train/val.json") == "val" and file_split("train/boxes.json") == "train"


def test_a_share_of_files_with_names_in_another_encoding_is_held_out():
    given = entries(*[os.fsdecode(b"M\xfcnchen %d" % i) for i in range(9)])
    train, val = train_val_split(given)
    assert len(train) + len(val) == 9 and train and val


def test_train_and_val_stay_what_they_are():
    given = dict(train=entries("a", "b"), val=entries("c"), test=entries("d"))
    splits, notes = choose_splits(given)
    assert {name: names(chosen) for name, chosen in splits.items()} == dict(
        train=["a", "b"], val=["c"], test=["d"]
    )
    assert notes == ["not used: 1 image of test (eval.py --split test)"]


@pytest.mark.parametrize("source", ("train", "trainval", "all", "val"))
def test_without_a_val_a_share_is_held_out_and_trained_on_no_more(source):
    splits, notes = choose_splits({source: entries(*MANY)})
    train, val = names(splits["train"]), names(splits["val"])
    assert 3 <= len(val) <= 18 and not set(train) & set(val) and sorted(train + val) == sorted(MANY)
    assert f"{len(val)} of the images" in notes[0] and "held out for validation" in notes[0]


@pytest.mark.parametrize("source", ("train", "trainval", "all"))
def test_test_is_validated_on_where_there_is_no_val(source):
    splits, _ = choose_splits({source: entries(*MANY), "test": entries("z")})
    assert names(splits["val"]) == names(splits["test"]) == ["z"]
    assert names(splits["train"]) == sorted(MANY)


def test_test_is_never_trained_on():
    splits, _ = choose_splits(dict(test=entries("z")))
    assert not splits["train"] and not splits["val"] and names(splits["test"]) == ["z"]


@pytest.mark.parametrize("val_share", (0, 0.2))
@pytest.mark.parametrize("others", (dict(), dict(val=entries("x", "y"))))
def test_an_image_that_is_in_test_is_not_trained_on(val_share, others):
    given = dict(train=entries(*MANY), test=entries("z", *MANY[:9])) | others
    splits, notes = choose_splits(given, val_share)
    assert len(splits["test"]) == 10 and set(MANY[9:]) <= set(names(splits["train"]))
    assert not set(names(splits["train"])) & set(names(splits["test"]))
    assert any(note.endswith(f"also in {split}: 9") for note in notes for split in ("test", "val"))


@pytest.mark.parametrize("val_share", (0, 0.2))
def test_where_test_has_all_of_train_it_is_trained_on_and_a_note_says_so(val_share):
    given = dict(train=entries(*MANY), val=entries("x"), test=entries("x", *MANY))
    splits, notes = choose_splits(given, val_share)
    assert set(MANY) <= set(names(splits["train"]))
    assert "all images of train are also in test; they are trained on nevertheless" in notes


def test_equal_train_and_val_are_read_as_one():
    splits, notes = choose_splits(dict(train=entries(*MANY), val=entries(*MANY)))
    assert not set(names(splits["train"])) & set(names(splits["val"]))
    assert notes[0] == "train and val are the same images"


def test_an_image_in_both_is_only_validated_on():
    splits, notes = choose_splits(dict(train=entries("a", "b"), val=entries("b", "c")))
    assert names(splits["train"]) == ["a"] and names(splits["val"]) == ["b", "c"]
    assert notes == ["left out of train, images that are also in val: 1"]


@pytest.mark.parametrize("link", (os.symlink, os.link))
def test_a_link_is_the_image_that_it_leads_to(tmp_path, link):
    for name in "ab":
        write_image(tmp_path / f"{name}.jpg", seed=ord(name))
    link(tmp_path / "b.jpg", tmp_path / "c.jpg")
    given = dict(train=entries("a", "b", folder=tmp_path), val=entries("c", folder=tmp_path))
    assert names(choose_splits(given)[0]["train"]) == ["a"]


@pytest.mark.parametrize("val_share", (0, 0.2))
def test_an_image_that_is_listed_twice_has_the_objects_of_both(tmp_path, val_share):
    content = write_coco(tmp_path, [[(i, 1, 9, 9, 0)] for i in range(8)])
    for image in content["images"]:
        image["file_name"] = f"{image['id'] // 2}.jpg"
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    splits, notes = choose_splits(read_folder("coco", tmp_path).splits, val_share)
    objects = [len(entry.objects) for entry in splits["train"] + splits["val"]]
    assert objects == [2] * 4 and notes[0].endswith("put together: 4")


def test_other_splits_are_said_to_be_unused():
    given = dict(train=entries("a"), val=entries("b"), trainval=entries("a", "b", "c"))
    assert choose_splits(given)[1] == ["not used: 1 image of trainval"]


def test_a_val_share_of_zero_trains_on_everything_but_test():
    given = dict(
        train=entries("a"), val=entries("b"), trainval=entries("a", "b"), test=entries("c")
    )
    splits, notes = choose_splits(given, val_share=0)
    assert names(splits["train"]) == ["a", "b"] and not splits["val"]
    assert notes == ["all images are trained on, none is validated on"]


def test_more_images_move_none_from_one_side_to_the_other():
    few, many = (train_val_split(entries(*MANY[:count]))[1] for count in (25, 50))
    assert names(few) == [name for name in names(many) if name in MANY[:25]]


@pytest.mark.parametrize("share", (0.1, 0.5, 0.9))
def test_the_share_is_about_what_was_asked_for(share):
    images = entries(*(f"image{i}" for i in range(1000)))
    assert abs(len(train_val_split(images, share)[1]) / 1000 - share) < 0.05


@pytest.mark.parametrize("count", (2, 3, 4))
def test_of_few_images_neither_side_is_left_without(count):
    for first in range(100):
        images = entries(*(f"image{first + i}" for i in range(count)))
        train, val = train_val_split(images)
        assert train and val and sorted(names(train) + names(val)) == names(images)


@pytest.mark.parametrize("count", (0, 1))
def test_too_few_images_are_an_error_that_says_what_to_do(count):
    with pytest.raises(UserError, match="too few to hold out some .*--val-share 0"):
        train_val_split(entries(*"ab"[:count]))


def test_copies_of_frames_under_other_names_do_not_break_their_runs(tmp_path):
    write_video(tmp_path, 100)
    video = frames(tmp_path, 100)
    copies = []
    for number in range(3, 100, 10):
        path = tmp_path / f"a{number}.jpg"
        shutil.copy(video[number].path, path)
        copies.append(video[number]._replace(path=str(path), image_id=path.stem))
    _, val = train_val_split(copies + video)
    numbers = sorted(video.index(entry) for entry in val if entry in video)
    alone = [n for n in numbers if n - 1 not in numbers and n + 1 not in numbers]
    assert numbers and not alone


def test_copies_in_train_of_images_in_val_are_left_out_and_named(tmp_path):
    """Equal files of other names, and what Roboflow makes of an image."""
    write_image(tmp_path / "train/a.jpg", seed=1)
    shutil.copy(tmp_path / "train/a.jpg", tmp_path / "val-a.jpg")
    write_image(tmp_path / "train/b.jpg", seed=2)
    paths = dict(
        train=["train/a.jpg", "train/b.jpg", "c_jpg.rf.0123.jpg", "d_jpg.rf.4567.jpg"],
        val=["val-a.jpg", "c_jpg.rf.89ab.jpg"],
    )
    given = {
        split: [Entry(str(tmp_path / name), (64, 96), name, []) for name in part]
        for split, part in paths.items()
    }
    splits, notes = choose_splits(given)
    assert names(splits["train"]) == ["d_jpg.rf.4567.jpg", "train/b.jpg"]
    assert names(splits["val"]) == sorted(paths["val"])
    assert notes[0].startswith("left out of train, copies of images in val: 2, of ")
    assert "a.jpg" in notes[0] and "c_jpg.rf.0123.jpg" in notes[0]


def test_a_name_that_telephones_give_to_all_photos_makes_no_copies_of_them():
    part = {"train": range(40), "val": range(40, 60)}
    given = {
        split: entries(*(f"image_jpg.rf.{number:04x}" for number in numbers))
        for split, numbers in part.items()
    }
    splits, _ = choose_splits(given)
    assert [len(splits[split]) for split in part] == [40, 20]
    train, val = train_val_split(given["train"] + given["val"])
    assert len(train) > 30 and len(val) > 3


def test_a_train_of_nothing_but_copies_of_val_is_read_as_one_with_it(tmp_path):
    given = dict(train=[], val=[])
    for i in range(8):
        write_image(tmp_path / f"val/{i}.jpg", seed=i)
        (tmp_path / "train").mkdir(exist_ok=True)
        shutil.copy(tmp_path / f"val/{i}.jpg", tmp_path / f"train/{i}.jpg")
        for split in given:
            path = str(tmp_path / f"{split}/{i}.jpg")
            given[split].append(Entry(path, (64, 96), f"{split}{i}", []))
    splits, notes = choose_splits(given)
    assert notes[0] == "train and val are the same images"
    assert len(splits["train"] + splits["val"]) == 16 and splits["train"]
    numbers = [{name[-1] for name in names(splits[part])} for part in ("train", "val")]
    assert all(numbers) and not set.intersection(*numbers)


def test_what_roboflow_makes_of_an_image_is_held_out_together():
    versions = [f"image{i}_jpg.rf.{version}" for i in range(30) for version in range(3)]
    splits, _ = choose_splits(dict(train=entries(*versions)))
    images = [{name.split(".rf.")[0] for name in names(splits[part])} for part in ("train", "val")]
    assert all(images) and not set.intersection(*images)


def test_equal_pictures_stay_together(tmp_path):
    for i in range(20):
        write_image(tmp_path / f"a{i}.jpg", seed=i)
        shutil.copy(tmp_path / f"a{i}.jpg", tmp_path / f"b{i}.jpg")
    images = entries(*(f"{kind}{i}" for kind in "ab" for i in range(20)), folder=tmp_path)
    _, val = train_val_split(images)
    held_out = {name[1:] for name in names(val)}
    assert names(val) == sorted(f"{kind}{number}" for kind in "ab" for number in held_out)


def write_video(folder, count, seed=0):
    """Frames of a camera that moves to the right by two of 480 pixels each time."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 60 + count // 8, 3), np.uint8)
    scene = cv2.resize(noise, None, fx=16, fy=16, interpolation=cv2.INTER_CUBIC)
    for i in range(count):
        cv2.imwrite(str(folder / f"frame{i:04}.jpg"), scene[:, 2 * i : 2 * i + 480])


def frames(folder, count):
    images = entries(*(f"frame{i:04}" for i in range(count)), folder=folder)
    return [entry._replace(size=None) for entry in images]


def test_frames_of_a_video_are_held_out_in_runs(tmp_path):
    write_video(tmp_path, 200)
    _, val = train_val_split(frames(tmp_path, 200))
    numbers = [int(name[5:9]) for name in names(val)]
    borders = [number for number in numbers if number + 1 not in numbers]
    assert 20 <= len(numbers) <= 80 and len(borders) <= len(numbers) / 10


def test_numbered_photos_of_different_things_are_held_out_one_by_one(tmp_path):
    for i in range(60):
        write_image(tmp_path / f"frame{i:04}.jpg", seed=i)
    held_out, expected = (
        names(train_val_split(frames(folder, 60))[1]) for folder in (tmp_path, "nowhere")
    )
    assert held_out == expected


# Layouts on disk, each without an image in both.


def coco_train_only(root):
    write_coco(root, [[(1, 1, 9, 9, 0)]] * 12)


def coco_train_and_val(root):
    coco_train_only(root)
    write_coco(root, [[(1, 1, 9, 9, 1)]] * 4, split="val")


def coco_one_file(root):
    coco_train_only(root)
    (root / "train2017").rename(root / "images")
    (root / "annotations/instances_train2017.json").rename(root / "annotations/all.json")


def coco_same_file_twice(root):
    coco_one_file(root)
    for split in ("train", "val"):
        shutil.copy(root / "annotations/all.json", root / f"annotations/{split}.json")
    (root / "annotations/all.json").unlink()


def csv_with(*files):
    def write(root):
        rows = []
        for i in range(12):
            write_image(root / f"{i}.jpg", seed=i)
            rows.append(f"{i}.jpg,1,2,30,40,dog")
        for file, share in files:
            (root / file).write_text("\n".join(rows[share]))

    return write


def yolo_with(yaml, *folders):
    def write(root):
        (root / "data.yaml").write_text(f"names: [dog]\n{yaml}")
        for i in range(12):
            folder = folders[i % len(folders)]
            write_image(root / folder / f"{i}.jpg", seed=i)
            (root / folder / f"{i}.txt").write_text("0 .5 .5 .2 .2")

    return write


def yolo_list(*lists):
    def write(root):
        yolo_with("", "pictures")(root)
        for name, share in lists:
            paths = [f"pictures/{i}.jpg" for i in range(12)][share]
            (root / name).write_text("\n".join(paths))

    return write


def voc_with(*lists):
    def write(root):
        write_voc(root, {f"i{i}": [("dog", 1, 2, 30, 40)] for i in range(12)})
        for name, share in lists:
            write_list(root, name, [f"i{i}" for i in range(12)][share])

    return write


ALL, FIRST, LAST = slice(None), slice(0, 8), slice(8, 12)
LAYOUTS = {
    "coco, train only": ("coco", coco_train_only),
    "coco, train and val": ("coco", coco_train_and_val),
    "coco, one file": ("coco", coco_one_file),
    "coco, one file under two names": ("coco", coco_same_file_twice),
    "csv, train only": ("csv", csv_with(("train.csv", ALL))),
    "csv, train and val overlap": ("csv", csv_with(("train.csv", ALL), ("val.csv", LAST))),
    "csv, one file": ("csv", csv_with(("boxes.csv", ALL))),
    "yolo, one folder": ("yolo", yolo_with("", "images")),
    "yolo, train only": ("yolo", yolo_with("", "images/train")),
    "yolo, train and valid": ("yolo", yolo_with("", "train/images", "valid/images")),
    "yolo, one folder for both": ("yolo", yolo_with("train: images\nval: images", "images")),
    "yolo, cvat's train.txt": ("yolo", yolo_list(("train.txt", ALL))),
    "yolo, two lists that overlap": ("yolo", yolo_list(("train.txt", ALL), ("val.txt", LAST))),
    "voc, no lists": ("voc", voc_with()),
    "voc, train.txt only": ("voc", voc_with(("train", ALL))),
    "voc, val.txt only": ("voc", voc_with(("val", ALL))),
    "voc, trainval and test": ("voc", voc_with(("trainval", FIRST), ("test", LAST))),
    "voc, train, val and trainval": (
        "voc",
        voc_with(("train", FIRST), ("val", LAST), ("trainval", ALL)),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_image_is_in_both_splits(layout, tmp_path):
    name, write = LAYOUTS[layout]
    write(tmp_path)
    source = read_folder(name, tmp_path)
    splits, _ = choose_splits(source.splits)
    train, val = ({identity(entry) for entry in splits[split]} for split in ("train", "val"))
    everything = {identity(entry) for split in source.splits.values() for entry in split}
    assert train and val and not train & val and train | val == everything


def test_to_write_them_each_image_stays_in_one_split():
    given = dict(trainval=entries("a", "b", "c"), train=entries("a", "b"), val=entries("b", "c"))
    given |= dict(all=entries("d", "e"), test=entries("c", "e"))
    kept = {name: names(chosen) for name, chosen in disjoint(given).items()}
    assert kept == dict(train=["a"], val=["b"], all=["d"], test=["c", "e"])
