import cv2
import numpy as np
import pytest

import data.distort as module
from data.distort import distort, shift_colours


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
    monkeypatch.setattr(module, "shift_colours", lambda image, *by: drawn.append(by) or image)
    for seed in range(2000):
        distort(np.uint8([[[130, 95, 60]]]), np.random.default_rng(seed))
    saturations, hues = zip(*drawn)
    assert -18 <= min(hues) < -17 and 17 < max(hues) <= 18
    assert 0.5 <= min(saturations) < 0.51 and 1.49 < max(saturations) <= 1.5


def test_channels_are_swapped_every_second_time():
    colour = np.uint8([[[250, 130, 10]]])
    kept = sum(
        (distort(colour, np.random.default_rng(i))[0, 0].argsort() == [2, 1, 0]).all()
        for i in range(2000)
    )
    # Half of the draws, and a sixth of the other half.
    assert abs(kept / 2000 - (1 / 2 + 1 / 12)) < 0.05
