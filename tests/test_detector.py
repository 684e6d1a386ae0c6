import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data.dataset import Dataset
from data.records import Entry, pack
from data.text import UserError
from detect import Detector
from published.detector import as_array
from tests.conftest import ROOT, write_image
from utils import checkpoint
from utils.build import build_detector, build_transform
from utils.evaluation.evaluate import detect_all
from utils.recipes import RECIPES

RECIPE = RECIPES["shapes"] | dict(precision="float32", score_threshold=0.0, resize=64, max_size=96)


def save_random_detector(path, **changes):
    """A checkpoint of random weights, the same every time, with changes in its recipe."""
    torch.manual_seed(0)
    recipe = RECIPE | changes
    model, _ = build_detector(recipe, 2)
    checkpoint.save(path, checkpoint.detector_content(model, recipe, ["cat", "dog"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of random weights, and a photo."""
    folder = tmp_path_factory.mktemp("detector")
    save_random_detector(folder / "best.pth")
    write_image(folder / "photo.png", height=80, width=120)
    return folder


@pytest.fixture
def detector(folder):
    return Detector(str(folder / "best.pth"), "cpu", score_threshold=0.0)


def test_a_path_an_array_a_tensor_and_a_picture_of_pillow_are_the_same_image(folder, detector):
    path = folder / "photo.png"
    picture = Image.open(path)
    tensor = torch.tensor(np.array(picture)).permute(2, 0, 1)
    images = (str(path), path, np.array(picture), picture, tensor)
    first, *others = [detector(image) for image in images]
    assert len(first["scores"]) == len(first["names"]) > 10
    for other in others:
        np.testing.assert_array_equal(first["boxes"], other["boxes"])
        assert first["names"] == other["names"]


def test_an_evaluation_in_batches_of_any_size_finds_what_a_detector_finds(tmp_path):
    save_random_detector(tmp_path / "best.pth")
    detector = Detector(tmp_path / "best.pth", "cpu", score_threshold=0.0)
    sizes = [(64, 96), (96, 64), (64, 64), (80, 96), (64, 90)]
    paths = [tmp_path / f"{i}.png" for i in range(len(sizes))]
    for i, (path, size) in enumerate(zip(paths, sizes)):
        write_image(path, *size, seed=i)
    entries = [Entry(str(path), size, i, []) for i, (path, size) in enumerate(zip(paths, sizes))]
    dataset = Dataset(["cat", "dog"], pack(entries, ["cat", "dog"]), build_transform(RECIPE))
    for batch in (1, 4):
        recipe = RECIPE | dict(batch=batch, workers=0)
        detections = detect_all(detector.model, dataset, recipe, torch.device("cpu"))
        for i, path in enumerate(paths):
            expected = detector(path)
            np.testing.assert_allclose(detections[i]["scores"], expected["scores"], rtol=1e-4)
            np.testing.assert_allclose(detections[i]["boxes"], expected["boxes"], atol=0.01)


def test_a_list_of_images_of_different_sizes_gives_a_list(folder, detector):
    small = np.zeros((40, 100, 3), np.uint8)
    both = detector([folder / "photo.png", small])
    assert len(both) == 2 and both[1]["boxes"][:, [0, 2]].max() <= 100
    assert both[1]["boxes"][:, [1, 3]].max() <= 40
    assert detector([]) == []


def test_an_image_in_a_list_is_found_as_alone(folder, detector):
    photo = np.array(Image.open(folder / "photo.png"))
    images = [photo, photo.transpose(1, 0, 2).copy(), photo[:40], photo]
    for together, image in zip(detector(images), images):
        alone = detector(image)
        assert together["names"] == alone["names"]
        np.testing.assert_allclose(together["boxes"], alone["boxes"], atol=1e-3)


def test_names_and_the_threshold_are_the_checkpoint_s(folder, detector):
    found = detector(folder / "photo.png")
    assert set(found["names"]) <= {"cat", "dog"}
    assert [detector.classes[label] for label in found["labels"]] == found["names"]
    assert Detector(folder / "best.pth", "cpu").score_threshold == 0.5


def test_the_classes_shown_lose_no_detections_to_others(folder):
    rules = dict(device="cpu", score_threshold=0.0, max_detections=10)
    changes = dict(pre_nms_topk=10)
    for name in ("cat", "dog"):
        shown = Detector(folder / "best.pth", shown_classes=[name], changes=changes, **rules)
        assert shown(folder / "photo.png")["names"] == [name] * 10


def test_it_draws_on_a_copy(folder, detector):
    image = np.zeros((80, 120, 3), np.uint8)
    drawn = detector.draw(image, detector(image))
    assert drawn.shape == image.shape and drawn.any() and not image.any()


@pytest.mark.parametrize("ending", (".png", ".tif"))
def test_a_16_bit_picture_of_pillow_s_is_as_its_file(tmp_path, ending):
    path = tmp_path / f"grey{ending}"
    cv2.imwrite(str(path), np.arange(0, 60_000, 1000, np.uint16).reshape(6, 10))
    np.testing.assert_array_equal(as_array(Image.open(path)), as_array(path))


def test_floats_of_pillow_s_are_as_their_file(tmp_path):
    path = tmp_path / "grey.tif"
    cv2.imwrite(str(path), np.linspace(0, 1, 60, dtype=np.float32).reshape(6, 10))
    np.testing.assert_array_equal(as_array(Image.open(path)), as_array(path))


def test_a_call_may_have_a_threshold_of_its_own(folder, detector):
    everything = detector(folder / "photo.png")
    middle = float(np.median(everything["scores"]))
    some = detector(folder / "photo.png", score_threshold=middle)
    assert (some["scores"] >= middle).all() and 0 < len(some["names"]) < len(everything["names"])
    strict = Detector(folder / "best.pth", "cpu", score_threshold=1.0)
    assert strict(folder / "photo.png")["names"] == []
    lowered = strict(folder / "photo.png", score_threshold=0.0)
    assert lowered["names"] == everything["names"]
    with pytest.raises(UserError, match="50: must be from 0 to 1"):
        detector(folder / "photo.png", score_threshold=50)


def test_one_call_makes_json_of_detections(folder, detector):
    found = detector(folder / "photo.png")
    rows = json.loads(json.dumps(detector.to_json(found)))
    assert [row["class"] for row in rows] == found["names"]
    assert rows[0].keys() == {"class", "score", "box"}


def test_its_repr_is_a_line_that_says_which_it_is(detector):
    words = ("best.pth", "retinanet", "2 classes", "cpu", "0.00")
    assert all(word in repr(detector) for word in words) and "\n" not in repr(detector)


@pytest.mark.parametrize("make", (lambda path: Detector(path, "cpu"), as_array))
def test_a_file_that_is_not_there_is_python_s_own_error_too(make):
    with pytest.raises(FileNotFoundError, match="none.png: no such"):
        make("none.png")


def test_an_address_is_one_line():
    with pytest.raises(UserError, match="^https://a.org/b.jpg: images are read from files"):
        as_array("https://a.org/b.jpg")


@pytest.mark.parametrize(
    "image",
    (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        torch.zeros((4, 4, 3), dtype=torch.uint8),
    ),
)
def test_an_array_that_is_no_image_is_one_line(detector, image):
    with pytest.raises(UserError, match="an image is"):
        detector(image)


def test_the_three_lines_work_from_another_folder(folder, tmp_path):
    import subprocess
    import sys

    code = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        "from detect import Detector\n"
        f"detector = Detector({str(folder / 'best.pth')!r})\n"
        f"print(detector({str(folder / 'photo.png')!r})['boxes'].shape[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.strip() == "4", done.stderr


def test_a_picture_of_pillow_s_is_turned_as_its_exif_says():
    picture = Image.new("RGB", (30, 20))
    picture.getexif()[0x0112] = 6  # to be turned by a quarter
    assert as_array(picture).shape == (30, 20, 3)


def test_the_longest_side_follows_the_short_one_unless_it_is_given(folder):
    twice = dict(resize=2 * RECIPE.resize)
    both = (twice, twice | dict(max_size=99))
    recipes = [Detector(folder / "best.pth", changes=changes).recipe for changes in both]
    assert [recipe.max_size for recipe in recipes] == [2 * RECIPE.max_size, 99]


def test_one_class_may_be_named_without_a_list(folder):
    detector = Detector(folder / "best.pth", shown_classes="cat")
    assert detector.shown_classes.tolist() == [name == "cat" for name in detector.classes]
    with pytest.raises(UserError, match="no class horse"):
        Detector(folder / "best.pth", shown_classes="horse")
