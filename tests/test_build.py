from data.dataset import collate
from data.records import Entry, pack
from tests.test_dataset import sample
from utils.build import (
    build_detector,
    build_levels,
    build_optimizer,
    make_datasets,
    sizes_to_compile,
)
from utils.recipes import RECIPES


def test_norms_and_biases_do_not_decay():
    recipe = RECIPES["shapes"]
    groups = build_optimizer(recipe, build_detector(recipe, 2)[0]).param_groups
    for group in groups:
        decays = {parameter.ndim > 1 for parameter in group["params"]}
        assert decays == {group["weight_decay"] == recipe.weight_decay}


def test_the_base_has_its_share_of_the_learning_rate_unless_it_is_random():
    recipe = RECIPES["shapes"] | dict(base_lr=0.1)
    model = build_detector(recipe, 2)[0]
    base = {id(parameter) for parameter in model.base.parameters()}
    for weights, expected in (("imagenet", 0.1), ("none", 1.0)):
        groups = build_optimizer(recipe | dict(weights=weights), model).param_groups
        factors = {id(one): group["lr_factor"] for group in groups for one in group["params"]}
        assert len(factors) == len(list(model.parameters()))
        assert {factors[one] for one in base} == {expected}
        assert {factor for one, factor in factors.items() if one not in base} == {1.0}


def test_short_trainings_augment_less_and_published_ones_in_full():
    strengths = []
    for name, num_images in (("ssd300_scratch", 20_000), ("ssd300_voc", 16_551)):
        records = pack([Entry(f"{i}.jpg", (48, 64), i, []) for i in range(num_images)], ["any"])
        dataset, _ = make_datasets(RECIPES[name], ["any"], records, None)
        strengths.append(dataset.transform.strength)
    assert strengths == [6000 * 8 / 20_000 / 100, 1.0]


def test_batches_for_a_compiled_network_have_few_sizes():
    allowed_sizes = sizes_to_compile(RECIPES["retinanet_coco"])
    sizes = {
        tuple(collate([sample(size)], (0, 0, 0), 32, allowed_sizes=allowed_sizes)[0].shape[-2:])
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
    assert abs(model.class_head.last.bias.sigmoid() - 0.2).max() < 1e-6


def test_listed_priors_take_the_place_of_sizes_and_ratios():
    boxes = (((0.0, 0, 8, 8), (0, 0, 4, 16)),) * 5
    levels = build_levels(RECIPES["shapes"] | dict(finest_stride=8, base_priors=boxes))
    assert [level.base_priors for level in levels] == list(boxes)
    assert [level.stride for level in levels] == [8, 16, 32, 64, 128]
