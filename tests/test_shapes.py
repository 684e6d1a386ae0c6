import shutil
from pathlib import Path

import numpy as np
import pytest

from data import shapes
from data.folder import Folder
from data.formats import coco
from data.images import read_image
from data.text import UserError
from tests.conftest import read_split


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    shapes.read(folder)
    return folder


def test_every_split_has_its_images_and_some_are_empty(root):
    for split, count in shapes.NUM_IMAGES.items():
        classes, records = read_split("shapes", root, split)
        assert len(records) == count and len(classes) == 3
        assert 0 < (np.diff(records.offsets) == 0).sum() < count / 5
        assert np.diff(records.offsets).max() <= 8


def test_it_is_a_coco_dataset_and_is_read_as_one_would_be(root):
    assert shapes.read(root) == coco.read(Folder(root))


def test_a_damaged_file_is_one_line_that_says_how_to_mend_it(root, tmp_path):
    shutil.copytree(root, tmp_path / "shapes")
    (tmp_path / "shapes/annotations/instances_val.json").write_text('{"annotations": [')
    with pytest.raises(UserError, match="instances_val.json: damaged .* to have it drawn again"):
        shapes.read(tmp_path / "shapes")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_image_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "0001.jpg").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        shapes.draw_split(tmp_path, count=2, part=0)


def test_objects_have_the_promised_sizes(root):
    _, records = read_split("shapes", root)
    sides = records.boxes[:, 2:] - records.boxes[:, :2]
    assert sides.min() >= 10 and sides.max() <= 160 / 2 * 1.25


def test_drawing_again_gives_the_same(root):
    image, objects = shapes.draw_image(np.random.default_rng((0, 3)))
    again, _ = shapes.draw_image(np.random.default_rng((0, 3)))
    _, records = read_split("shapes", root)
    assert (image == again).all() and [list(box) for box, _ in objects] == records.boxes[
        records.objects(3)
    ].tolist()


def test_train_and_val_share_no_image(root):
    train, val = (read_split("shapes", root, split)[1] for split in ("train", "val"))
    first = {read_image(train.path(i)).tobytes() for i in range(50)}
    assert not first & {read_image(val.path(i)).tobytes() for i in range(200)}


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(shapes, "NUM_IMAGES", {"train": 3, "val": 2})


def test_an_empty_folder_is_drawn_into_and_then_read_again(tmp_path, few, capsys):
    assert (
        len(read_split("shapes", tmp_path, "val")[1]) == 2 and "drawing" in capsys.readouterr().out
    )
    assert len(read_split("shapes", tmp_path)[1]) == 3 and "drawing" not in capsys.readouterr().out


def test_an_interrupted_drawing_leaves_nothing_under_its_name(tmp_path, few, monkeypatch):
    monkeypatch.setattr(shapes, "draw_split", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_split("shapes", tmp_path / "shapes", "val")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_anything_else_is_never_drawn_into(tmp_path, few):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/photo.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="holds other files"):
        read_split("shapes", tmp_path, "val")
    assert [path.name for path in tmp_path.rglob("*")] == ["train", "photo.jpg"]
