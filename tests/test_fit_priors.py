import numpy as np
import pytest

from data.summary import best_overlap
from utils.build import build_detector, build_levels
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


def test_trained_heads_keep_as_many_priors_in_a_cell():
    """Wide objects alone are reached best by a single ratio, but the heads have three."""
    published = RECIPES["retinanet_coco"] | dict(
        base_priors=tuple(level.base_priors for level in build_levels(RECIPES["retinanet_coco"]))
    )
    widths = np.random.default_rng(1).uniform(60, 120, 300)
    boxes = boxes_of(widths, widths / 5)
    changes, before, after = fit_priors(boxes, published, keep_number=True)
    assert before < 0.2 and after > 0.9
    levels = build_levels(published | changes)
    assert [len(level.base_priors) for level in levels] == [9] * 5
    assert (best_overlap(boxes, levels) >= 0.5).mean() > 0.9, "the listed priors are out of use"


def test_another_number_of_scales_leaves_only_the_ratios_that_make_the_same_number():
    recipe = RECIPES["shapes"] | dict(prior_scales=(1.0, 1.5), prior_ratios=(1.0, 0.5))
    widths = np.random.default_rng(1).uniform(60, 120, 300)
    changes, _, _ = fit_priors(boxes_of(widths, widths / 5), recipe, keep_number=True)
    assert len(changes["prior_ratios"]) == 2
