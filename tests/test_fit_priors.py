import numpy as np
import pytest

from utils.build import build_detector
from utils.fit_priors import cluster_shapes, fit_priors, shape_iou
from utils.recipes import RECIPES


def boxes_of(widths, heights, seed=0):
    """Boxes of these shapes at random places."""
    corner = np.random.default_rng(seed).uniform(0, 400, (len(widths), 2))
    return np.hstack([corner, corner + np.stack([widths, heights], axis=1)])


def test_clusters_are_the_shapes_that_there_are():
    shapes = np.array([[10.0, 10], [11, 10], [100, 50], [98, 50], [10, 80], [10, 82]])
    centres = cluster_shapes(shapes, 3)
    assert sorted(centres.round().tolist()) == [[10, 10], [10, 81], [99, 50]]


def test_shapes_are_compared_centre_on_centre():
    assert shape_iou(np.array([[10.0, 10]]), np.array([[10.0, 10], [20, 10], [5, 5]])).tolist() == [
        [1, 0.5, 0.25]
    ]


def test_wide_objects_get_wide_priors():
    widths = np.random.default_rng(1).uniform(60, 120, 300)
    changes, before, after = fit_priors(boxes_of(widths, widths / 5), RECIPES["retinanet_coco"])
    assert before < 0.2 and after > 0.9 and max(changes["prior_ratios"]) > 3


@pytest.mark.parametrize(
    "name, scale", (("retinanet_coco", 1), ("ssd300_coco", 1), ("ssd512_voc", 1), ("shapes", 0.5))
)
def test_fitted_priors_reach_more_and_build_a_detector(name, scale):
    sides = scale * np.random.default_rng(2).uniform(9, 14, 200)
    recipe = RECIPES[name] | dict(weights="none")
    changes, before, after = fit_priors(boxes_of(sides, sides), recipe)
    assert after > before and changes
    assert build_detector(recipe | changes, 2)[0].levels


def test_priors_that_fit_are_left_alone():
    sides = np.random.default_rng(3).uniform(40, 400, 200)
    assert fit_priors(boxes_of(sides, sides), RECIPES["retinanet_coco"])[0] == {}
