import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from data.images import read_image
from data.reading import read_folder
from data.records import ANY_CLASS, Entry, Object, pack
from data.splits import choose_splits, disjoint
from data.text import UserError
from data.write import WRITERS, new_names, rotated, write_dataset
from tests import test_cityscapes, test_kitti, test_widerface
from tests.conftest import make_records, write_image
from tests.test_formats import LAYOUTS, linked_images
from tests.test_voc import write_list, write_voc

# How far a side of a box may move, in an image of 64 x 96 pixels.
ROUNDING = dict(coco=0.011, yolo=0.001, voc=0.5)
formats = pytest.mark.parametrize("form", WRITERS)


def records_of(source, classes=None):
    """The dataset's own splits as records, with each image in one of them only."""
    return {
        split: pack(entries, classes or source.classes, source.category_ids)
        for split, entries in disjoint(source.splits).items()
    }


def write_and_read(folder, form, classes, splits):
    """The Source of a dataset after it has been written, recognised and read."""
    write_dataset(folder, form, classes, splits)
    source = read_folder("auto", folder)
    assert not source.problems and f"--dataset {form}" in source.notes[0]
    return source


def images_of(splits, classes):
    """The images of all splits by their pixels: split, size and objects."""
    images = []
    for split, records in splits.items():
        for i in range(len(records)):
            rows = records.objects(i)
            objects = zip(*(c[rows].tolist() for c in (records.labels, records.ignore)))
            names = [(classes[label], ignore) for label, ignore in objects]
            boxes = records.boxes[rows]
            pixels = read_image(records.path(i), records.sizes[i]).tobytes()
            images.append((split, pixels, tuple(records.sizes[i]), names, boxes))
    return sorted(images, key=lambda image: image[:2])


def assert_same(splits, classes, others, other_classes, tolerance):
    images, other_images = images_of(splits, classes), images_of(others, other_classes)
    assert len(images) == len(other_images)
    for image, other in zip(images, other_images):
        assert image[:4] == other[:4]
        np.testing.assert_allclose(image[4], other[4], atol=tolerance)


def kitti(root):
    box = "0.00 0 -1.5 10.5 20.0 30.0 40.0 1 1 1 1 1 1 1"
    test_kitti.write_label(root, "0", f"Car {box}")
    test_kitti.write_label(root, "1")


def cityscapes(root):
    objects = [dict(label=label, polygon=points) for label, points in test_cityscapes.POLYGONS]
    objects = [item for item in objects if "group" not in item["label"]]
    test_cityscapes.write(root, json.dumps(dict(imgHeight=64, imgWidth=96, objects=objects)))


def widerface(root):
    test_widerface.write(root, "a.jpg\n1\n10 20 30 20 2 0 0 0 2 0\nb.jpg\n0\n")
    for name in "ab":
        write_image(root / f"WIDER_val/images/0--Parade/{name}.jpg", seed=ord(name))


@formats
@pytest.mark.parametrize(
    "layout", [*LAYOUTS, kitti, cityscapes, widerface], ids=lambda layout: layout.__name__
)
def test_what_any_reader_reads_is_read_again_from_any_format(layout, form, tmp_path):
    layout(tmp_path / "before")
    is_set = layout is linked_images
    source = read_folder("auto", tmp_path / "before" / ("set" if is_set else ""))
    splits = records_of(source)
    again = write_and_read(tmp_path / "after", form, source.classes, splits)
    if form == "yolo":
        # It has to name a train and a val, but what is trained and validated on is the same.
        source.splits, again.splits = as_trained(source.splits), as_trained(again.splits)
        splits = records_of(source)
    assert_same(splits, source.classes, records_of(again), again.classes, ROUNDING[form])


def as_trained(splits):
    """What is trained, validated and tested on; of one split, all of it."""
    return choose_splits(splits)[0] if len(splits) > 1 else dict(all=sum(splits.values(), []))


@formats
def test_voc_s_trainval_and_test_and_images_in_two_lists(form, tmp_path):
    names = "abcd"
    write_voc(tmp_path / "voc", {name: [("my cat", 1, 2, 30, 40)] for name in names})
    for split, listed in dict(train="ab", val="bc", trainval="abc", test="d").items():
        write_list(tmp_path / "voc", split, listed)
    source = read_folder("voc", tmp_path / "voc")
    again = write_and_read(tmp_path / "out", form, source.classes, records_of(source))
    stems = {
        split: [entry.path[-5] for entry in entries] for split, entries in again.splits.items()
    }
    assert stems == dict(train=["a"], val=["b", "c"], test=["d"])
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 4


def test_yolo_calls_trainval_train_and_validates_on_test(tmp_path):
    write_voc(tmp_path / "voc", {name: [("cat", 1, 2, 30, 40)] for name in "ab"})
    write_list(tmp_path / "voc", "trainval", "a")
    write_list(tmp_path / "voc", "test", "b")
    source = read_folder("voc", tmp_path / "voc")
    again = write_and_read(tmp_path / "out", "yolo", source.classes, records_of(source))
    chosen, _ = choose_splits(again.splits)
    assert [len(chosen[split]) for split in ("train", "val", "test")] == [1, 1, 1]
    assert chosen["train"][0].path.endswith("a.jpg")


ODD_NAMES = (
    "a/1.jpg", "b/1.jpg", "b/1.png", "c/B_1.jpg", "my photo  (2).jpg", "Größe 猫.jpg",
    " edge .jpg", "a.b.c.JPG", "train.jpg", "labels.jpg", "images/test/x.jpg", "it's & <b>.jpg",
    "back\\slash.jpg", ".hidden.jpg",
)  # fmt: skip


@formats
def test_odd_names_of_images_and_classes_are_kept_apart(form, tmp_path):
    classes = ["traffic light", "Größe: 1", "<b> & 'c'", "yes", "7"]
    entries = []
    for i, name in enumerate(ODD_NAMES):
        path = tmp_path / "photos" / name
        write_image(path, seed=i)
        item = Object(i, i, i + 20.5, i + 30.25, classes[i % len(classes)])
        entries.append(Entry(str(path), None, name, [item]))
    splits = dict(train=pack(entries[::2], classes), val=pack(entries[1::2], classes))
    again = write_and_read(tmp_path / "out", form, classes, splits)
    assert_same(splits, classes, records_of(again), again.classes, ROUNDING[form])


def test_an_image_keeps_its_name_unless_another_has_it():
    assert new_names(["x/a.jpg", "y/images/A.png", "y/b.jpg", "y/a.bmp", "y/a.tif"]) == [
        "a.jpg", "y_A.png", "b.jpg", "a-2.bmp", "a-3.tif",
    ]  # fmt: skip
    assert new_names(["a\nb.jpg", " c .jpg", "../a.jpg"]) == ["a_b.jpg", "c.jpg", "a.jpg"]


@formats
def test_images_without_objects_are_there_and_ignored_ones_where_there_is_a_place(form, tmp_path):
    write_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg", seed=1)
    objects = [
        Object(1, 2, 30, 40, "cat"),
        Object(5, 5, 20, 20, "cat", ignore=True),
        Object(0, 0, 9, 9, None, ignore=True),
    ]
    entries = [
        Entry(str(tmp_path / f"{name}.jpg"), (64, 96), name, items)
        for name, items in dict(a=objects, b=[]).items()
    ]
    records = pack(entries, ["cat"])
    assert ANY_CLASS in records.labels
    (note,) = write_dataset(tmp_path / "out", form, ["cat"], dict(all=records))
    again = pack(read_folder(form, tmp_path / "out").splits["all"], ["cat"])
    assert len(again) == 2 and np.diff(again.offsets).tolist() in ([2, 0], [1, 0])
    assert again.ignore.tolist() == ([False] if form == "yolo" else [False, True])
    assert note.startswith(f"left out: {2 if form == 'yolo' else 1} ")


def save_rotated(path, orientation, dot):
    """A photo of 48 x 80 pixels with this orientation, black but for a white box xyxy."""
    pixels = np.zeros((48, 80, 3), np.uint8)
    pixels[dot[1] : dot[3], dot[0] : dot[2]] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


@formats
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("is_shown", (True, False))
def test_boxes_fit_a_rotated_photo(form, orientation, is_shown, tmp_path):
    dot = (8, 16, 32, 24)
    save_rotated(tmp_path / "a.jpg", orientation, dot)
    image = read_image(tmp_path / "a.jpg")
    if is_shown or orientation < 5:
        rows, columns = np.nonzero(image[..., 0] > 128)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        entry = Entry(str(tmp_path / "a.jpg"), None, 1, [Object(*box, "dot")])
    else:
        entry = Entry(str(tmp_path / "a.jpg"), (48, 80), 1, [Object(*dot, "dot")])
    again = write_and_read(tmp_path / "out", form, ["dot"], dict(all=pack([entry], ["dot"])))
    records = pack(again.splits["all"], ["dot"])
    shown = read_image(records.path(0), records.sizes[0])
    assert shown.shape == image.shape
    left, top, right, bottom = records.boxes[0].round().astype(int)
    inside = shown[top:bottom, left:right, 0]
    assert inside.mean() > 240 and inside.size == (shown[..., 0] > 128).sum()


def test_the_four_rotations_of_a_box_by_hand():
    box = np.array([[1.0, 2, 4, 8]])
    turns = {o: rotated(box, (10, 20), o).tolist()[0] for o in (5, 6, 7, 8)}
    assert turns == {5: [2, 1, 8, 4], 6: [2, 1, 8, 4], 7: [2, 16, 8, 19], 8: [2, 16, 8, 19]}


def test_coco_keeps_ids_areas_and_scores(tmp_path):
    write_image(tmp_path / "folder/0.jpg")
    records = make_records([((64, 96), [(1, 2, 30, 40, "cat", False, 99.5)])])
    records = replace(
        records,
        paths=np.array([str(tmp_path / "folder/0.jpg").encode()]),
        image_ids=np.array([42]),
        category_ids=(17,),
        scores=np.array([0.123456]),
    )
    write_dataset(tmp_path / "out", "coco", ["cat"], dict(all=records))
    content = json.loads((tmp_path / "out/annotations/instances_default.json").read_text())
    assert content["images"] == [dict(id=42, file_name="0.jpg", height=64, width=96)]
    assert content["categories"] == [dict(id=17, name="cat")]
    (annotation,) = content["annotations"]
    assert annotation | dict(id=1, image_id=42, category_id=17, area=99.5) == annotation
    assert annotation["score"] == 0.12346 and annotation["bbox"] == [1, 2, 29, 38]


@formats
def test_a_box_of_a_pixel_is_still_there(form, tmp_path):
    write_image(tmp_path / "a.jpg")
    objects = [Object(x, x, x + 1.01, x + 1.01, "dot") for x in (0, 0.5, 1.5, 2.49, 62.98)]
    records = pack([Entry(str(tmp_path / "a.jpg"), (64, 96), "a", objects)], ["dot"])
    again = write_and_read(tmp_path / "out", form, ["dot"], dict(all=records))
    assert len(pack(again.splits["all"], ["dot"]).boxes) == 5


def test_no_box_of_a_pixel_is_lost_in_yolo_s_format(tmp_path):
    for width in (333, 640, 1920):
        write_image(tmp_path / f"{width}.png", height=64, width=width)
        objects = [Object(x, 10, x + 1, 60, "line") for x in range(5, width, 7)]
        records = pack([Entry(str(tmp_path / f"{width}.png"), (64, width), 0, objects)], ["line"])
        again = write_and_read(tmp_path / f"{width}", "yolo", ["line"], dict(all=records))
        again = pack(again.splits["all"], ["line"])
        np.testing.assert_array_equal(again.boxes, records.boxes)


@formats
def test_a_missing_image_is_one_error_and_leaves_nothing(form, tmp_path):
    records = make_records([((64, 96), [(1, 2, 30, 40, "cat")])])
    with pytest.raises(UserError, match="0.jpg: no such image"):
        write_dataset(tmp_path / "out", form, ["cat"], dict(all=records))
    assert not list(tmp_path.iterdir())


@formats
def test_a_class_with_a_control_character_can_be_read_again(form, tmp_path):
    write_image(tmp_path / "a.jpg")
    entry = Entry(str(tmp_path / "a.jpg"), None, "a", [Object(1, 2, 30, 40, "a\x0bb")])
    again = write_and_read(tmp_path / "out", form, ["a\x0bb"], dict(all=pack([entry], ["a\x0bb"])))
    assert again.classes == ["a_b" if form == "voc" else "a\x0bb"]
