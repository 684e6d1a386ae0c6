import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from data.resize import Resize, Stretch, resize
from tests.test_augment import RANDOM, bright, sample


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
    mine, _ = resize(image, dict(boxes=np.zeros((0, 4), np.float32)), (20, 31), method)
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
