from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from data.augment import (
    MIN_IOUS,
    RetinaNetAugmentation,
    SSDAugmentation,
    crop,
    crop_and_resize,
    expand,
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
    random = np.random.default_rng(seed)
    corner, size = (
        random.uniform(0, 300 - largest, (count, 2)),
        random.uniform(smallest, largest, (count, 2)),
    )
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    image = random.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    return image, dict(boxes=boxes, labels=np.arange(count), ignore=np.zeros(count, bool), index=0)


def modes(target, draws=3000):
    random = np.random.default_rng(0)
    return Counter(
        crop(np.array([0, 0, 300, 300], np.float32), target["boxes"], target["ignore"], random)[2]
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


def test_a_single_pixel_wide_image_passes():
    image = np.zeros((1, 400, 3), np.uint8)
    seen, _ = SSDAugmentation((300, 300), COLOUR)(image, sample(boxes=())[1], RANDOM)
    assert seen.shape == (300, 300, 3)
