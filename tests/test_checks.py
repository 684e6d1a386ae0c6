import cv2
import numpy as np
import pytest
from PIL import Image

from data.checks import refuse_impossible, unreadable_images
from data.text import UserError
from tests.conftest import make_records

NOISE = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Good and bad files."""
    for name in ("good.jpg", "good.png", "cut.jpg", "cut.png", "trailing.jpg"):
        cv2.imwrite(str(tmp_path / name), NOISE)
    for name in ("cut.jpg", "cut.png"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 4])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("text")
    with open(tmp_path / "trailing.jpg", "ab") as file:
        file.write(b"\0" * 900)
    return tmp_path


def test_cut_empty_and_missing_images_are_found_and_good_ones_are_not(folder):
    names = ("good.jpg", "good.png", "trailing.jpg", "cut.png", "empty.jpg", "text.png", "none.jpg")
    problems = unreadable_images({str(folder / name): None for name in names})
    assert {path.rsplit("/", 1)[-1] for path in problems} == set(names[3:])
    assert all(path in problem for path, problem in problems.items())


def test_an_image_without_a_mark_at_its_end_is_only_decoded_if_asked_for(folder):
    cv2.imwrite(str(folder / "whole.bmp"), NOISE)
    (folder / "cut.bmp").write_bytes((folder / "whole.bmp").read_bytes()[:999])
    sizes = {str(folder / name): (60, 80) for name in ("whole.bmp", "cut.bmp")}
    assert not unreadable_images(sizes)
    assert list(unreadable_images(sizes, decode=True)) == [str(folder / "cut.bmp")]


def test_looking_at_images_writes_nothing(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder / "home"))
    before = sorted(folder.rglob("*"))
    unreadable_images({str(folder / "good.jpg"): None})
    assert sorted(folder.rglob("*")) == before


def test_a_size_that_is_not_the_annotation_s_is_found(folder):
    path = str(folder / "good.jpg")
    for size, count in ((None, 0), ((60, 80), 0), ((80, 60), 1), ((61, 80), 1)):
        assert len(unreadable_images({path: size})) == count
    message = unreadable_images({path: (60, 81)})[path]
    assert "80 x 60 pixels, but its annotation says 81 x 60" in message


def test_boxes_of_a_photo_before_its_rotation_are_of_a_right_size(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(NOISE).save(folder / "photo.jpg", exif=exif)
    for size in ((60, 80), (80, 60)):
        assert not unreadable_images({str(folder / "photo.jpg"): size})


def test_a_tiff_of_floats_that_pillow_does_not_know_is_a_good_image(folder):
    path = str(folder / "floats.tif")
    cv2.imwrite(path, NOISE.astype(np.float32) / 255)
    assert not unreadable_images({path: (60, 80)})


HEIGHT, WIDTH = 480, 640
rng = np.random.default_rng(0)
CORNER = rng.uniform(0, (400, 300), (30, 2))
BOXES = np.concatenate([CORNER, CORNER + rng.uniform(60, 170, (30, 2))], axis=1)
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
