import json
import time
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from data import summary
from data.dataset import Dataset
from data.formats import coco
from data.resize import Resize, Stretch
from layers.boxes import iou
from layers.priors import pyramid_priors
from retinanet import prior_levels
from tests.conftest import run_script, write_coco, write_image

OBJECTS = [[(10, 20, 30, 40, 1)], [], [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)]]
LEVELS = prior_levels()


def test_the_best_overlap_is_that_with_all_priors():
    corner, size = np.random.default_rng(0).uniform((0, 4), (180, 70), (200, 2)).T.reshape(2, 100, 2)
    boxes = np.concatenate([corner, corner + size], axis=1)
    expected = iou(torch.from_numpy(boxes).float(), pyramid_priors((256, 256), LEVELS)).amax(dim=1)
    np.testing.assert_allclose(summary.best_overlap(boxes, LEVELS), expected, atol=1e-4)


def test_the_summary_counts_and_advises(tmp_path):
    write_coco(tmp_path, OBJECTS, ids=(3, 17))
    dataset = Dataset(*coco.read(tmp_path, "train"), transform=None)
    text = "\n".join(summary.summary(dataset, LEVELS, Resize(64, 96)))
    assert "3 images, 3 objects of 2 classes, 0 to ignore; 1 images without any" in text
    assert "cat 1  dog 2" in text and "3 to 17, have gaps" in text and "advice" in text


def test_sizes_are_those_the_network_sees(tmp_path):
    write_coco(tmp_path, OBJECTS)
    _, records = coco.read(tmp_path, "train")
    np.testing.assert_allclose(summary.resized(records, Stretch((128, 96)))[0], [10, 40, 40, 120])


def test_a_clean_dataset_ends_with_zero_and_a_sheet(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    printed = run_script("tools/check.py", "--dataset", "coco", "--root", tmp_path / "data", "--sheet", tmp_path / "sheet.png", module=True)
    assert "0 problems" in printed and Image.open(tmp_path / "sheet.png").size[0] > 1000


@pytest.fixture
def spoilt(tmp_path):
    """A dataset with everything that can be wrong with its files."""
    content = write_coco(tmp_path / "data", [[(10, 20, 30, 30, 0)]] * 9)
    images = tmp_path / "data/train2017"
    (images / "0.jpg").write_bytes((images / "0.jpg").read_bytes()[:400])
    (images / "1.jpg").write_bytes(b"")
    (images / "2.jpg").write_text("text")
    (images / "3.jpg").unlink()
    write_image(images / "4.jpg", height=8, width=8)
    (images / "6.jpg").write_bytes((images / "5.jpg").read_bytes())
    content["annotations"][8]["image_id"] = 99
    (tmp_path / "data/annotations/instances_train2017.json").write_text(json.dumps(content))
    return tmp_path / "data"


def test_every_wrong_file_is_one_line(spoilt):
    printed = run_script("tools/check.py", "--dataset", "coco", "--root", spoilt, code=1, module=True)
    for words in ("0.jpg: ", "1.jpg: an empty file", "2.jpg: not a readable image", "3.jpg: cannot be read", "no image has the id 99",
                  "4.jpg: 8 x 8 pixels, but its annotation says 96 x 64"):
        assert words in printed
    assert "the same picture: " in printed and "5.jpg" in printed


def test_training_goes_on_without_bad_files_only_where_asked(spoilt, tmp_path):
    flags = ("--recipe", "shapes", "--dataset", "coco", "--root", spoilt, "--resize", "64", "--batch", "2", "--workers", "0",
             "--iters", "2", "--save-folder", tmp_path, "--name", "run")
    assert "error: " in (printed := run_script("train.py", *flags, code=2)) and "--skip-bad" in printed
    assert "left out of train: 6 that cannot be read" in run_script("train.py", *flags, "--skip-bad")


def test_a_hundred_thousand_images_are_read_in_seconds(tmp_path):
    random = np.random.default_rng(0)
    images = 118_287
    owners = np.sort(random.integers(0, images, 860_001)).tolist()
    content = dict(
        images=[dict(id=i, file_name=f"{i:012d}.jpg", height=480, width=640) for i in range(images)],
        annotations=[dict(id=i, image_id=owner, category_id=1 + i % 80, bbox=[10.5, 20.5, 100, 200], area=20000, iscrowd=0)
                     for i, owner in enumerate(owners)],
        categories=[dict(id=i, name=f"class {i}") for i in range(1, 81)])
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_train2017.json").write_text(json.dumps(content))
    (tmp_path / "train2017").mkdir()
    del content
    began = time.perf_counter()
    _, records = coco.read(tmp_path, "train")
    print(f"read in {time.perf_counter() - began:.1f} s")
    assert len(records) == images and len(records.boxes) == 860_001
    # What a worker process would add by looking at all of it: arrays are views, nothing is copied for good.
    tracemalloc.start()
    for index in range(images):
        records.path(index), records.boxes[records.objects(index)]
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
