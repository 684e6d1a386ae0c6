import numpy as np
import pytest

from data import shapes
from data.images import read_image


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    shapes.write(folder)
    return folder


def test_every_split_has_its_images_and_some_are_empty(root):
    for split, count in shapes.IMAGES.items():
        classes, records = shapes.read(root, split)
        assert len(records) == count and len(classes) == 3
        assert 0 < (np.diff(records.offsets) == 0).sum() < count / 5
        assert np.diff(records.offsets).max() <= 8


def test_objects_have_the_promised_sizes(root):
    _, records = shapes.read(root, "train")
    sides = records.boxes[:, 2:] - records.boxes[:, :2]
    assert sides.min() >= 10 and sides.max() <= 160 / 2 * 1.25


def test_drawing_again_gives_the_same(root):
    image, objects = shapes.draw(np.random.default_rng((0, 3)))
    again, _ = shapes.draw(np.random.default_rng((0, 3)))
    _, records = shapes.read(root, "train")
    assert (image == again).all() and [list(box) for box, _ in objects] == records.boxes[records.objects(3)].tolist()


def test_train_and_val_share_no_image(root):
    first = {read_image(shapes.read(root, "train")[1].path(i)).tobytes() for i in range(50)}
    assert not first & {read_image(shapes.read(root, "val")[1].path(i)).tobytes() for i in range(200)}


def test_an_interrupted_drawing_is_begun_anew(root, tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "IMAGES", {"train": 3, "val": 2})
    (tmp_path / "shapes/train").mkdir(parents=True)
    assert len(shapes.read(tmp_path / "shapes", "val")[1]) == 2
