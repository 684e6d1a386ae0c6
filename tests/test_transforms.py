from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from data import transforms
from data.transforms import (
    MIN_IOUS,
    Resize,
    RetinaNetAugmentation,
    SSDAugmentation,
    Stretch,
    crop,
    crop_and_resize,
    distort,
    expand,
    shift_colours,
)
from layers.boxes import iou

RANDOM = np.random.default_rng(0)


def sample(height=100, width=200, boxes=((20, 10, 60, 90),)):
    image = np.zeros((height, width, 3), np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = 255
    count = len(boxes)
    return image, dict(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.zeros(count, int),
        ignore=np.zeros(count, bool),
        index=0,
    )


def bright(image):
    rows, columns = np.nonzero(image[..., 0] > 127)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize(
    "short, longest, size", ((50, 1000, (50, 100)), (200, 1000, (200, 400)), (100, 150, (75, 150)))
)
def test_resize_keeps_the_aspect_and_obeys_the_longest_side(short, longest, size):
    image, target = Resize(short, longest)(*sample(), RANDOM)
    assert image.shape[:2] == size
    np.testing.assert_allclose(target["boxes"][0], bright(image), atol=1)


def test_boxes_follow_the_real_size_of_an_odd_image():
    image, target = Resize(33, 1000)(*sample(100, 151, ((0, 0, 151, 100),)), RANDOM)
    assert image.shape[:2] == (33, 50) and target["boxes"].tolist() == [[0, 0, 50, 33]]


def test_the_short_side_is_drawn_from_its_range():
    sides = {Resize((40, 44), 999)(*sample(), RANDOM)[0].shape[0] for _ in range(100)}
    assert sides == {40, 41, 42, 43, 44}


def test_stretch_makes_every_image_the_same_size():
    image, target = Stretch((300, 300))(*sample(), RANDOM)
    assert image.shape == (300, 300, 3)
    np.testing.assert_allclose(target["boxes"], [[30, 30, 90, 270]])


@pytest.mark.parametrize("method", ("float", "pil"))
def test_images_can_be_resized_as_others_do(method):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    mine, _ = Stretch((20, 31), method)(image, dict(boxes=np.zeros((0, 4), np.float32)), None)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    pixels = torch.nn.functional.interpolate(
        pixels.float(), (20, 31), mode="bilinear", antialias=method == "pil"
    )
    np.testing.assert_allclose(
        mine, pixels[0].permute(1, 2, 0), atol=1e-2 if method == "float" else 1.1
    )


def test_sides_are_cut_to_whole_pixels_where_others_do():
    assert Resize(100, 1000).output_size(64, 97) == (100, 152) and Resize(
        100, 1000, floor_sizes=True
    ).output_size(64, 97) == (100, 151)
    sizes = [
        (480, 640),
        (550, 369),
        (320, 634),
        (390, 606),
        *np.random.default_rng(0).integers(200, 1500, (100, 2)).tolist(),
    ]
    for height, width in sizes:
        theirs = (
            GeneralizedRCNNTransform(800, 1333, [0.0], [1.0])
            .resize(torch.zeros(1, height, width))[0]
            .shape[1:]
        )
        assert Resize(800, 1333, floor_sizes=True).output_size(height, width) == tuple(theirs)


def test_the_size_is_told_without_reading_the_image():
    transform = Resize((40, 80), 999)
    for seed in range(20):
        told = transform.output_size(100, 200, np.random.default_rng(seed))
        image, _ = transform(*sample(), np.random.default_rng(seed))
        assert image.shape[:2] == told
    assert transform.output_size(100, 200) == (80, 160) and Stretch((9, 8)).output_size(1, 2) == (
        9,
        8,
    )


def test_only_what_is_resized_as_bytes_may_be_decoded_smaller():
    assert Resize(50, 999).needed_size(100, 200) == (50, 100)
    assert Resize(50, 999, "whole").needed_size(100, 200) == (100, 200)


def test_mirror_takes_the_boxes_along():
    results = [RetinaNetAugmentation(100, 200)(*sample(), RANDOM) for _ in range(50)]
    for image, target in results:
        np.testing.assert_allclose(target["boxes"][0], bright(image))
    assert 10 < sum(target["boxes"][0, 0] == 140 for _, target in results) < 40


def test_the_dataset_s_own_boxes_stay_as_they_are():
    image, target = sample()
    before = target["boxes"].copy()
    for _ in range(10):
        RetinaNetAugmentation(50, 99)(image, target, RANDOM)
    assert (target["boxes"] == before).all()


def test_images_without_boxes_pass():
    image, target = RetinaNetAugmentation((40, 60), 100)(*sample(boxes=()), RANDOM)
    assert target["boxes"].shape == (0, 4) and image.shape[0] <= 60


def test_an_image_is_decoded_as_large_as_it_may_be_seen():
    assert RetinaNetAugmentation(100, 400).needed_size(400, 800) == (100, 200)


# SSD's augmentation.

COLOUR = (123, 117, 104)


def many(count, smallest=20, largest=80, seed=1):
    """An image of 300 x 300 pixels with so many objects of these sides."""
    rng = np.random.default_rng(seed)
    corner, size = (
        rng.uniform(0, 300 - largest, (count, 2)),
        rng.uniform(smallest, largest, (count, 2)),
    )
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    image = rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    return image, dict(boxes=boxes, labels=np.arange(count), ignore=np.zeros(count, bool), index=0)


def modes(target, draws=3000):
    rng = np.random.default_rng(0)
    return Counter(
        crop(np.array([0, 0, 300, 300], np.float32), target["boxes"], target["ignore"], rng)[2]
        for _ in range(draws)
    )


def test_every_mode_of_cropping_has_its_share():
    shares = modes(many(2, 120, 200)[1])
    # A mode that finds no crop in all its trials, as 0.9 often does, leaves the choice to the
    # others.
    assert (
        all(0.15 < shares[mode] / 3000 < 0.21 for mode in MIN_IOUS[:5])
        and shares[0.7] / 3000 > 0.05
        and shares[0.9] > 0
    )


def test_crowded_images_are_cropped_as_often_as_others():
    few, crowd = modes(many(2)[1], draws=1000), modes(many(30)[1], draws=1000)
    assert abs(few[None] - crowd[None]) / 1000 < 0.06


def test_some_object_reaches_the_overlap_of_its_crop():
    _, target = many(5)
    for _ in range(300):
        window, kept, mode = crop(
            np.array([0, 0, 300, 300], np.float32), target["boxes"], target["ignore"], RANDOM
        )
        if mode is not None:
            width, height = window[2:] - window[:2]
            overlaps = iou(torch.from_numpy(window[None]), torch.from_numpy(target["boxes"]))
            assert overlaps.max() >= mode - 1e-6
            assert 0.5 <= width / height <= 2 and 89 < width <= 300 and kept.any()
            centres = (target["boxes"][:, :2] + target["boxes"][:, 2:]) / 2
            assert (kept == ((centres > window[:2]) & (centres < window[2:])).all(axis=1)).all()


def test_an_ignored_area_stays_ignored_wherever_its_centre_is():
    boxes = np.array([[20, 100, 120, 200], [150, 0, 300, 300]], np.float32)
    ignore = np.array([False, True])
    for _ in range(300):
        _, kept, _ = crop(np.array([0, 0, 300, 300], np.float32), boxes, ignore, RANDOM)
        assert kept.all(), "a crop without an object is drawn again, whatever is ignored in it"


@pytest.mark.parametrize("draws", (500, pytest.param(10_000, marks=pytest.mark.long)))
def test_every_draw_keeps_every_box_within_the_image_and_over_a_pixel(draws):
    image, target = many(8)
    image, augmented = cv2.resize(image, (60, 60)), SSDAugmentation((60, 60), COLOUR)
    target["boxes"] = target["boxes"] / 5
    for _ in range(draws):
        drawn, found = augmented(image, target, RANDOM)
        sides = found["boxes"][:, 2:] - found["boxes"][:, :2]
        assert drawn.shape == (60, 60, 3) and drawn.dtype == np.uint8
        assert (found["boxes"] >= 0).all() and (found["boxes"] <= 60).all() and (sides >= 1).all()
        assert len(found["boxes"]) == len(found["labels"]) == len(found["ignore"])


def test_expanding_keeps_the_image_within_its_window():
    windows = np.array([expand((100, 200), RANDOM) for _ in range(1000)])
    grown = windows[:, 2] - windows[:, 0] > 200
    assert 400 < grown.sum() < 600
    assert (
        (windows[:, :2] <= 0).all()
        and (windows[:, 2] >= 200 - 1e-3).all()
        and (windows[:, 3] >= 100 - 1e-3).all()
    )
    assert (windows[:, 2] - windows[:, 0]).max() <= 800.001


@pytest.mark.parametrize("mirrored", (False, True))
@pytest.mark.parametrize("window", ((0, 0, 200, 100), (-100, -100, 300, 200), (10, 5, 110, 95)))
def test_boxes_follow_the_pixels_through_the_window(window, mirrored):
    image, target = sample()
    seen, target = crop_and_resize(
        np.array(window, np.float32), image, target, (300, 300), (0, 0, 0), mirrored
    )
    np.testing.assert_allclose(target["boxes"][0], bright(seen), atol=1.01)


def test_beyond_the_image_is_the_mean_colour():
    seen, _ = crop_and_resize(
        np.array([-100, -100, 100, 100], np.float32), *sample(), (50, 50), COLOUR, False
    )
    assert tuple(seen[0, 0]) == COLOUR and tuple(seen[20, 20]) == COLOUR


def test_ssd_images_without_objects_pass_every_stage():
    augmented = SSDAugmentation((300, 300), COLOUR)
    image, target = sample(boxes=())
    for _ in range(100):
        seen, found = augmented(image, target, RANDOM)
        assert seen.shape == (300, 300, 3) and found["boxes"].shape == (0, 4)


def test_an_image_of_objects_to_ignore_alone_can_be_cropped():
    image, target = many(3)
    target["ignore"][:] = True
    for _ in range(50):
        SSDAugmentation((300, 300), COLOUR)(image, target, RANDOM)


def test_strength_is_how_often_an_image_is_expanded_cropped_or_distorted():
    """Mirroring always has a probability of 0.5: without the rest, there are two results."""
    image, target = sample()
    mirrored = cv2.flip(image, 1)
    for passes, expected in ((0, 100), (10, 73)):
        augmented = SSDAugmentation(image.shape[:2], COLOUR, passes)
        seen = [augmented(image, target, RANDOM)[0] for _ in range(100)]
        plain = [np.array_equal(one, image) or np.array_equal(one, mirrored) for one in seen]
        # Three chances of a tenth, of which some draws change nothing that shows.
        assert expected <= sum(plain) <= expected + 25 * (passes > 0)


def test_a_single_pixel_wide_image_passes():
    image = np.zeros((1, 400, 3), np.uint8)
    seen, _ = SSDAugmentation((300, 300), COLOUR)(image, sample(boxes=())[1], RANDOM)
    assert seen.shape == (300, 300, 3)


# Photometric distortion.


def test_brightness_stays_within_32_and_contrast_within_half():
    grey = np.full((4, 4, 3), 100, np.uint8)
    values = np.array([distort(grey, np.random.default_rng(i))[0, 0] for i in range(5000)]).max(
        axis=1
    )
    # (100 -+ 32) times 0.5 to 1.5
    assert 34 <= values.min() < 45 and 180 < values.max() <= 198
    assert (values == 100).mean() > 0.2


def hue_of(colour):
    return int(cv2.cvtColor(colour, cv2.COLOR_RGB2HSV)[0, 0, 0])


@pytest.mark.parametrize("degrees", (-18, -7, 0, 12, 18))
def test_the_hue_moves_by_as_many_degrees(degrees):
    colour = np.uint8([[[130, 95, 60]]])
    moved = (hue_of(shift_colours(colour, 1.0, degrees)) - hue_of(colour) + 90) % 180 - 90
    # A byte counts two degrees.
    assert abs(2 * moved - degrees) <= 4


def test_the_hue_moves_by_18_degrees_at_most(monkeypatch):
    drawn = []
    monkeypatch.setattr(transforms, "shift_colours", lambda image, *by: drawn.append(by) or image)
    for seed in range(2000):
        distort(np.uint8([[[130, 95, 60]]]), np.random.default_rng(seed))
    saturations, hues = zip(*drawn)
    assert -18 <= min(hues) < -17 and 17 < max(hues) <= 18
    assert 0.5 <= min(saturations) < 0.51 and 1.49 < max(saturations) <= 1.5


def test_channels_are_swapped_in_half_of_the_draws():
    colour = np.uint8([[[250, 130, 10]]])
    kept = sum(
        (distort(colour, np.random.default_rng(i))[0, 0].argsort() == [2, 1, 0]).all()
        for i in range(2000)
    )
    # Half of the draws, and a sixth of the other half.
    assert abs(kept / 2000 - (1 / 2 + 1 / 12)) < 0.05
