from utils.recipe_text import describe_recipe
from utils.recipes import RECIPES


def test_a_recipe_of_ours_is_its_name_alone():
    assert describe_recipe(RECIPES["retinanet_voc"]) == "as retinanet_voc in utils/recipes.py"


def test_what_differs_is_told_and_what_has_no_effect_is_not(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = describe_recipe(RECIPES["shapes"] | dict(batch=4, milestones=(1, 2)))
    assert text == "as shapes in utils/recipes.py  but  batch=4"
    text = describe_recipe(RECIPES["ssd300_voc"] | dict(depth=18, resize=9, lr=0.5))
    assert text == "as ssd300_voc in utils/recipes.py  but  lr=0.5"


def test_it_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    changed = RECIPES["retinanet_custom"] | dict(
        batch=3, depth=18, resize=320, iterations=77, ema=0.9, seed=5, root="some/where/else"
    )
    assert max(map(len, describe_recipe(changed).splitlines())) <= 60
