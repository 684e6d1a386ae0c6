"""An image that a dataset gives to train and to val is validated on only, whatever says that it is
the same image, and however the dataset was named: through the flags of train.py."""

import json
import os
import shutil
import sys

import pytest

from data.reading import read_records
from tests.conftest import write_image
from utils import options
from utils.resolve import asked_recipe

XML = (
    "<annotation><filename>{0}</filename><object><name>cat</name><bndbox><xmin>10</xmin>"
    "<ymin>20</ymin><xmax>40</xmax><ymax>60</ymax></bndbox></object></annotation>"
)


def place(root, split, name):
    return root / f"{split}/images/{name}.jpg"


def coco(root, splits):
    for split, names in splits.items():
        images = [
            dict(id=i, file_name=f"{split}/images/{name}.jpg", height=64, width=96)
            for i, name in enumerate(names)
        ]
        boxes = [
            dict(id=i, image_id=i, category_id=1, bbox=[10, 20, 30, 40]) for i in range(len(names))
        ]
        content = dict(images=images, annotations=boxes, categories=[dict(id=1, name="cat")])
        (root / f"{split}.json").write_text(json.dumps(content))


def csv(root, splits):
    for split, names in splits.items():
        rows = [f"{split}/images/{name}.jpg,10,20,40,60,cat" for name in names]
        (root / f"{split}.csv").write_text("\n".join(rows))


def yolo(root, splits):
    (root / "data.yaml").write_text("train: train/images\nval: val/images\nnames: [cat]")
    for split, names in splits.items():
        (root / f"{split}/labels").mkdir(exist_ok=True)
        for name in names:
            (root / f"{split}/labels/{name}.txt").write_text("0 0.26 0.62 0.31 0.62")


def voc(root, splits):
    for split, names in splits.items():
        for name in names:
            (root / f"{split}/images/{name}.xml").write_text(XML.format(f"{name}.jpg"))


def labelme(root, splits):
    for split, names in splits.items():
        for name in names:
            shape = dict(label="cat", points=[[10, 20], [40, 60]], shape_type="rectangle")
            content = dict(shapes=[shape], imagePath=f"{name}.jpg", imageData=None)
            (root / f"{split}/images/{name}.json").write_text(json.dumps(content))


# How the first image of val gets into train: (its name there, what makes it).
WAYS = dict(
    symbolic_link=("a", os.symlink),
    hard_link=("a", os.link),
    bytes=("a", shutil.copy),
    same_name=("d", shutil.copy),
    roboflow=("d.rf.1", None),
)


@pytest.mark.parametrize("named", (True, False), ids=("by name", "by auto"))
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", (coco, csv, yolo, voc, labelme), ids=lambda form: form.__name__)
def test_an_image_of_val_is_not_trained_on(tmp_path, monkeypatch, form, way, named):
    name, make = WAYS[way]
    splits = dict(train=[name, "b", "c"], val=["d.rf.0" if way == "roboflow" else "d", "e"])
    for split, names in splits.items():
        for image in names:
            write_image(place(tmp_path, split, image), seed=ord(image[0]) + len(image))
    if make:
        place(tmp_path, "train", name).unlink()
        make(place(tmp_path, "val", "d"), place(tmp_path, "train", name))
    form(tmp_path, splits)
    flags = ["--root", str(tmp_path), *(("--dataset", form.__name__) if named else ())]
    monkeypatch.setattr(sys, "argv", ["train.py", *flags, "--weights", "none"])
    _, train, val = read_records(asked_recipe(options.train_parser("").parse()))
    stems = [
        sorted(os.path.basename(part.path(i)).removesuffix(".jpg") for i in range(len(part)))
        for part in (train, val)
    ]
    assert stems == [["b", "c"], splits["val"]]
    assert len(train.boxes) == len(val.boxes) == 2
