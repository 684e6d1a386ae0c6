import pytest

from data.errors import UserError
from utils import options
from utils.recipes import RECIPES, Recipe
from utils.schedule import learning_rate


def recipe_of(*arguments):
    flags = options.parse(options.train_parser(""), arguments)
    return options.resolve(flags, options.named_recipe(flags))


def test_without_flags_it_is_shapes():
    assert recipe_of() == RECIPES["shapes"]


def test_the_classic_is_the_coco_recipe():
    assert recipe_of("--dataset", "coco", "--depth", "50") == RECIPES["retinanet_coco"]


def test_flags_work_with_underscores_and_in_capitals():
    assert recipe_of("--dataset", "VOC", "--max_size=900", "--weight_decay", "0.1").max_size == 900
    assert recipe_of("--dataset=VOC").dataset == "voc"


def test_the_learning_rate_follows_the_batch_unless_given():
    assert recipe_of("--dataset", "coco", "--batch", "4").lr == pytest.approx(0.01 / 4)
    assert recipe_of("--dataset", "coco", "--batch", "4", "--lr", "0.5").lr == 0.5


def test_fewer_iterations_bring_their_milestones_along():
    recipe = recipe_of("--dataset", "coco", "--iters", "900")
    assert recipe.milestones == (600, 800) and recipe.warmup == 90
    assert recipe_of("--dataset", "coco", "--iters", "900", "--milestones", "5").milestones == (5,)


def test_the_jitter_follows_the_size():
    assert recipe_of("--dataset", "coco", "--resize", "400").jitter == (320, 400)


def test_a_misspelt_ingredient_is_an_error():
    with pytest.raises(TypeError, match="no 'learning_rte'"):
        Recipe() | dict(learning_rte=3)


@pytest.mark.parametrize("arguments, message", (
    (("--batch", "0"), "--batch 0: must be at least 1"),
    (("--workers", "-1"), "--workers -1"),
    (("--recipe", "nothing"), "no recipe 'nothing': use"),
))
def test_a_mistake_says_what_would_be_right(arguments, message):
    with pytest.raises(UserError, match=message):
        recipe_of(*arguments)


def test_the_rate_climbs_and_drops():
    recipe = Recipe(lr=1.0, warmup=10, milestones=(50, 80), iterations=100)
    rates = [learning_rate(i, recipe) for i in (1, 5, 10, 50, 51, 81)]
    assert rates == pytest.approx([0.1, 0.5, 1, 1, 0.1, 0.01])


def test_the_cosine_ends_near_zero():
    recipe = Recipe(lr=1.0, warmup=0, schedule="cosine", iterations=100)
    assert learning_rate(1, recipe) == 1
    assert learning_rate(51, recipe) == pytest.approx(0.5)
    assert learning_rate(100, recipe) < 1e-3
