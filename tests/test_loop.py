"""The labeller's loop: label some photos, train, let the detector label more, correct, train."""

import json
import shutil
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest

from data.reading import read_folder
from data.records import Entry, Object, pack
from data.write import write_dataset
from tests.scripts import run_script

CLASSES = ["bright", "dark"]
FLAGS = (
    "--recipe shapes --dataset voc --resize 64 --max-size 64 --batch 4 --workers 0 --val-share 0"
)


def draw(folder, count, seed):
    """Photos of 64 x 64 pixels with a bright and a dark square each, labelled as VOC."""
    rng = np.random.default_rng(seed)
    entries = []
    (folder / "photos").mkdir(parents=True)
    for i in range(count):
        image = rng.integers(100, 156, (64, 64, 3)).astype(np.uint8)
        objects = []
        for left, name, grey in ((0, "bright", 240), (32, "dark", 15)):
            side = int(rng.integers(12, 24))
            x, y = left + rng.integers(0, 32 - side), rng.integers(0, 64 - side)
            image[y : y + side, x : x + side] = grey
            objects.append(Object(x, y, x + side, y + side, name))
        path = folder / f"photos/{seed}-{i}.png"
        cv2.imwrite(str(path), image)
        entries.append(Entry(str(path), (64, 64), path.name, objects))
    write_dataset(folder / "labelled", "voc", CLASSES, dict(all=pack(entries, CLASSES)))


def train(folder, name, *arguments):
    words = [*FLAGS.split(), "--save-folder", folder, "--name", name, *arguments]
    run_script("train.py", *words)
    return folder / name / "last.pth"


def evaluate(weights, root):
    output = weights.parent / f"eval-{root.name}"
    run_script("eval.py", weights, "--root", root, "--split", "all", "--output", output)
    return json.loads((output / "metrics.json").read_text())["metrics"]["AP"]


@pytest.mark.long
def test_a_detector_labels_more_photos_and_learns_from_them_when_they_are_corrected(tmp_path):
    for seed, (name, count) in enumerate(dict(first=12, more=24, test=24).items()):
        draw(tmp_path / name, count, seed)
    first, truth, test = (tmp_path / name / "labelled" for name in ("first", "more", "test"))
    weights = train(tmp_path, "before", "--root", first, "--iters", "60")
    before = evaluate(weights, test)

    labelled = tmp_path / "by detector"
    photos = tmp_path / "more/photos"
    run_script("detect.py", weights, photos, "--labels", "voc", "--output", labelled)
    files, true_files = (
        sorted(path.name for path in (root / "Annotations").iterdir()) for root in (labelled, truth)
    )
    assert files == true_files
    trees = [ElementTree.parse(labelled / "Annotations" / file) for file in files]
    assert 24 <= sum(len(tree.findall("object")) for tree in trees) <= 96, "of 48 that are there"

    shutil.copytree(truth / "Annotations", labelled / "Annotations", dirs_exist_ok=True)
    shutil.copytree(labelled, first, dirs_exist_ok=True)
    assert len(read_folder("voc", first).splits["all"]) == 36
    again = train(tmp_path, "after", "--root", first, "--weights", weights, "--iters", "120")
    assert evaluate(again, test) > before + 0.05
