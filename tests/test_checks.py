import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data import checks
from data.checks import refuse_impossible, unreadable_images
from data.text import UserError
from tests.conftest import make_records

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


@pytest.fixture
def images(tmp_path):
    """Good and bad files, and where the good ones are remembered."""
    for name in ("good.jpg", "good.png", "cut.jpg", "cut.png", "trailing.jpg"):
        cv2.imwrite(str(tmp_path / name), NOISE)
    for name in ("cut.jpg", "cut.png"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 4])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("text")
    with open(tmp_path / "trailing.jpg", "ab") as file:
        file.write(b"\0" * 900)
    return tmp_path, tmp_path / "cache/images.json"


def test_cut_empty_and_missing_images_are_found_and_good_ones_are_not(images):
    folder, cache = images
    names = ("good.jpg", "good.png", "trailing.jpg", "cut.png", "empty.jpg", "text.png", "none.jpg")
    problems = unreadable_images({str(folder / name): None for name in names}, cache)
    assert {path.rsplit("/", 1)[-1] for path in problems} == set(names[3:])
    assert all(path in problem for path, problem in problems.items())


def test_what_was_good_is_not_looked_at_again_until_it_changes(images, monkeypatch):
    folder, cache = images
    path, looked_at = str(folder / "good.jpg"), []
    check_image = checks.check_image
    monkeypatch.setattr(
        checks, "check_image", lambda path: looked_at.append(path) or check_image(path)
    )
    for _ in range(3):
        assert not unreadable_images({path: None}, cache)
    assert looked_at == [path]
    (folder / "good.jpg").write_bytes((folder / "cut.png").read_bytes())
    assert list(unreadable_images({path: None}, cache)) == [path] and looked_at == [path, path]


@pytest.mark.parametrize("text", ("", "[]", "{", '{"good.jpg": 3}'))
def test_a_broken_memory_is_begun_anew(images, text):
    folder, cache = images
    cache.parent.mkdir()
    cache.write_text(text)
    assert not unreadable_images({str(folder / "good.jpg"): None}, cache)
    assert str(folder / "good.jpg") in json.loads(cache.read_text())


@pytest.mark.skipif(os.name == "nt", reason="there is no /dev/null")
def test_where_nothing_can_be_remembered_it_works_all_the_same(images):
    assert not unreadable_images({str(images[0] / "good.jpg"): None}, "/dev/null/images.json")


def test_a_size_that_is_not_the_annotation_s_is_found_also_where_it_was_seen_before(images):
    folder, cache = images
    path = str(folder / "good.jpg")
    for size, count in ((None, 0), ((60, 80), 0), ((80, 60), 1), ((61, 80), 1), ((60, 80), 0)):
        problems = unreadable_images({path: size}, cache)
        assert len(problems) == count
    assert (
        "80 x 60 pixels, but its annotation says 81 x 60"
        in (unreadable_images({path: (60, 81)}, cache)[path])
    )


def test_boxes_of_a_photo_before_its_rotation_are_of_a_right_size(images):
    folder, cache = images
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(NOISE).save(folder / "photo.jpg", exif=exif)
    for size in ((60, 80), (80, 60)):
        assert not unreadable_images({str(folder / "photo.jpg"): size}, cache)


def test_a_tiff_of_floats_that_pillow_does_not_know_is_a_good_image(images):
    folder, cache = images
    path = str(folder / "floats.tif")
    cv2.imwrite(path, NOISE.astype(np.float32) / 255)
    assert not unreadable_images({path: (60, 80)}, cache)


HEIGHT, WIDTH = 480, 640
random = np.random.default_rng(0)
CORNER = random.uniform(0, (400, 300), (30, 2))
BOXES = np.concatenate([CORNER, CORNER + random.uniform(60, 170, (30, 2))], axis=1)
SIZES = np.full((30, 2), (HEIGHT, WIDTH))
SCALE = np.array([WIDTH, HEIGHT] * 2)


@pytest.fixture
def path(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


@pytest.mark.parametrize(
    "boxes, cause",
    (
        (BOXES / SCALE, "normalised.*: multiply them"),
        (BOXES * SCALE, "pixels: divide them"),
        (np.column_stack([CORNER + 180, BOXES[:, 2:] - CORNER]).clip(0, 300), "width, height"),
        (np.full((30, 4), (-300, -300, -10, -10)), "Look at one of them"),
    ),
)  # fmt: skip
def test_most_impossible_boxes_are_an_error_with_its_cause(path, boxes, cause):
    with pytest.raises(UserError, match=f"of 30 boxes are impossible, as in .*a.jpg.*{cause}"):
        refuse_impossible(boxes, SIZES, [path] * 30)


def test_swapped_coordinates_and_rotated_photos_are_told_apart(path):
    low = np.array([[500.0, 10, 600, 60]] * 9)
    with pytest.raises(UserError, match="x and y look swapped"):
        refuse_impossible(low[:, [1, 0, 3, 2]], SIZES[:9], [path] * 9)


@pytest.mark.parametrize("boxes", (BOXES, BOXES[:4] * SCALE, np.zeros((0, 4))))
def test_possible_boxes_and_few_ones_pass(path, boxes):
    refuse_impossible(boxes, SIZES[: len(boxes)], [path] * len(boxes))


def test_some_impossible_boxes_are_only_dropped():
    good = [(10, 10, 50, 50 + i, "a") for i in range(6)]
    records = make_records([((100, 100), [*good, (300, 300, 400, 400, "a")])])
    assert len(records.boxes) == 6 and "dropped boxes" in records.notes[0]


def test_without_a_home_nothing_is_remembered(monkeypatch, images):
    def without_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", without_home)
    assert not unreadable_images({str(images[0] / "good.jpg"): None})
