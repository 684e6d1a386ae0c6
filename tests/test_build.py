import pytest

from data.batch import Collate
from tests.test_batch import sample
from utils.build import build_detector, build_levels, build_optimizer, sizes_to_compile
from utils.recipes import RECIPES


def test_norms_and_biases_do_not_decay():
    recipe = RECIPES["shapes"]
    decaying, others = build_optimizer(recipe, build_detector(recipe, 2)[0]).param_groups
    assert decaying["weight_decay"] == recipe.weight_decay and others["weight_decay"] == 0
    assert all(one.ndim > 1 for one in decaying["params"]) and all(
        one.ndim <= 1 for one in others["params"]
    )


def test_frozen_stages_do_not_learn():
    for name, first in (("shapes", "base.conv1.weight"), ("ssd300_shapes", "base.conv1.0.weight")):
        model, _ = build_detector(RECIPES[name] | dict(frozen_stages=2, weights="imagenet"), 2)
        frozen = [name for name, value in model.named_parameters() if not value.requires_grad]
        assert first in frozen and len(frozen) < len(list(model.parameters())) / 2


def test_random_weights_are_not_kept_from_learning():
    recipe = RECIPES["shapes"] | dict(frozen_stages=2, frozen_norm=True, weights="none")
    model, _ = build_detector(recipe, 2)
    assert all(value.requires_grad for value in model.parameters())
    assert all(norm.training for norm in model.train().base.norms())


@pytest.mark.parametrize("name", ("shapes", "ssd300_shapes"))
@pytest.mark.parametrize("frozen_norm", (True, False))
def test_with_weights_the_batch_norm_of_a_resnet_alone_is_frozen(name, frozen_norm):
    recipe = RECIPES[name] | dict(weights="any.pth", vgg_norm="batch", frozen_norm=frozen_norm)
    model, _ = build_detector(recipe | dict(frozen_stages=0), 2)
    norms = model.train().base.norms()
    is_frozen = frozen_norm and name == "shapes"
    assert norms and all(norm.training != is_frozen for norm in norms)
    assert all(norm.weight.requires_grad != is_frozen for norm in norms)


def test_batches_for_a_compiled_network_have_few_sizes():
    collate = Collate(
        (0, 0, 0), size_divisor=32, allowed_sizes=sizes_to_compile(RECIPES["retinanet_coco"])
    )
    sizes = {
        tuple(collate([sample(size)])[0].shape[-2:])
        for size in ((800, 1333), (640, 1000), (640, 640), (1000, 700), (1333, 750))
    }
    assert sizes == {(800, 1344), (800, 1184), (800, 800), (1184, 800), (1344, 800)}
    assert sizes_to_compile(RECIPES["shapes"]) == [(128, 128), (128, 160), (160, 128)]


def test_every_number_of_a_loss_comes_from_the_recipe():
    recipe = RECIPES["shapes"] | dict(focal_gamma=0.0, focal_alpha=0.3, positive_iou=0.6)
    _, criterion = build_detector(recipe | dict(force_match=False), 2)
    assert (criterion.gamma, criterion.alpha) == (0.0, 0.3)
    assert criterion.matching == dict(positive_iou=0.6, negative_iou=0.4, force_match=False)
    _, criterion = build_detector(RECIPES["ssd300_shapes"] | dict(negatives_per_positive=5), 2)
    assert criterion.negatives_per_positive == 5 and criterion.matching["negative_iou"] == 0.5


def test_an_untrained_detector_has_the_recipe_s_prior_probability():
    model, _ = build_detector(RECIPES["shapes"] | dict(prior_probability=0.2), 2)
    assert abs(model.class_head[-1].bias.sigmoid() - 0.2).max() < 1e-6


def test_listed_priors_take_the_place_of_sizes_and_ratios():
    boxes = (((0.0, 0, 8, 8), (0, 0, 4, 16)),) * 5
    levels = build_levels(RECIPES["shapes"] | dict(finest_stride=8, base_priors=boxes))
    assert [level.base_priors for level in levels] == list(boxes)
    assert [level.stride for level in levels] == [8, 16, 32, 64, 128]
