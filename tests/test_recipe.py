"""What a recipe may hold, wherever its values come from."""

import numpy as np
import pytest

from data.text import UserError
from utils.recipe import Recipe, checked
from utils.recipes import RECIPES


def test_a_misspelt_ingredient_is_an_error():
    with pytest.raises(TypeError, match="no 'learning_rte'"):
        Recipe() | dict(learning_rte=3)


@pytest.mark.parametrize(
    "changes, message",
    (
        (dict(lr_schedule="cosin"), "lr_schedule 'cosin': choose milestones, cosine, plateau"),
        (dict(box_loss="GIoU"), "box_loss 'GIoU': choose smooth_l1, giou"),
        (dict(metric="mAP"), "metric 'mAP'"),
        (dict(model="RetinaNet"), "model 'RetinaNet'"),
        (dict(optimizer="SGD"), "optimizer 'SGD'"),
        (dict(depth=77), "depth 77"),
        (dict(max_grad_norm=0), "max_grad_norm 0: must be over 0"),
        (dict(max_grad_norm=None), "max_grad_norm 'None': of the wrong type"),
        (dict(lr="fast"), "lr 'fast': of the wrong type"),
        (dict(pre_nms_topk=True), "pre_nms_topk 'True': of the wrong type"),
        (dict(lr=np.float64(1)), "lr '1.0': of the wrong type"),  # no checkpoint may hold it
        (dict(lr=float("nan")), "lr nan"),
        (dict(lr=float("inf")), "lr inf: must be at most"),
        (dict(seed=10**30), "seed 1.*: must be at most"),
        (dict(val_share=1), "val_share 1: must be below 1"),
        (dict(negative_iou=0.6), "negative_iou 0.6: must be at most"),
        (dict(base_priors=(((0, 0, 8, 8),),)), "base_priors .*: retinanet needs 5 of them"),
        (dict(base_priors=(((0, 0, 8),),) * 5), "base_priors .* of the wrong type"),
        (dict(base_priors=(((0, 0, 8, float("inf")),),) * 5), "of the wrong type"),
        (dict(prior_scales=(float("nan"),)), "prior_scales .* of the wrong type"),
        (dict(prior_sizes=((8,),) * 5), "prior_sizes .* of the wrong type"),
        (dict(prior_ratios=(-1,)), "prior_ratios .* of the wrong type"),
        (dict(channels=8, head_norm="group"), "channels 8: must be 32, 64, 96"),
        (dict(channels=48, head_norm="group"), "channels 48: must be 32, 64, 96"),
        (dict(prior_sizes=(8, 16)), r"prior_sizes \(8, 16\): retinanet needs 5 of them"),
        (dict(prior_ratios=((1,),)), "retinanet needs numbers"),
        (dict(model="ssd300", prior_ratios=(1.0,)), "needs a tuple of ratios for each of 6 levels"),
        (dict(jitter=(600, 400)), r"jitter \(600, 400\): must be two numbers over 0"),
        (dict(jitter=(0, 400)), "the smaller one first"),
        (dict(jitter=(400,)), "must be two numbers"),
    ),
)
def test_a_recipe_file_s_words_and_numbers_are_checked_like_flags(tmp_path, changes, message):
    with pytest.raises(UserError, match=f"my.py: .*{message}"):
        checked(Recipe() | changes, "my.py")


def test_all_our_recipes_pass_the_check():
    for recipe in RECIPES.values():
        assert checked(recipe) == recipe
