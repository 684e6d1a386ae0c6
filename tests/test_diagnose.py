import numpy as np
import pytest
from PIL import Image

from data.diagnose import refuse_impossible
from data.errors import UserError
from tests.conftest import make_records

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
    good = [(10, 10, 50, 50, "a")] * 6
    records = make_records([((100, 100), [*good, (300, 300, 400, 400, "a")])])
    assert len(records.boxes) == 6 and "dropped boxes" in records.notes[0]
