import pytest

from utils.recipe import Recipe
from utils.schedule import Plateau, learning_rate


def test_the_rate_climbs_and_drops():
    recipe = Recipe(lr=1.0, warmup=10, milestones=(50, 80), iterations=100)
    rates = [learning_rate(i, recipe) for i in (1, 5, 10, 50, 51, 81)]
    assert rates == pytest.approx([0.1, 0.5, 1, 1, 0.1, 0.01])


def test_the_cosine_ends_near_zero():
    recipe = Recipe(lr=1.0, warmup=0, schedule="cosine", iterations=100)
    assert learning_rate(1, recipe) == 1
    assert learning_rate(51, recipe) == pytest.approx(0.5)
    assert learning_rate(100, recipe) < 1e-3


def test_a_plateau_lowers_the_rate_once_epochs_bring_nothing():
    plateau = Plateau(Recipe(schedule="plateau", plateau_patience=2, gamma=0.1), per_epoch=2)
    for iteration, loss in enumerate((4, 4, 3, 3, 3, 3, 3, 3, 3, 3), start=1):
        assert plateau.factor == 1
        plateau.update(iteration, loss)
    assert plateau.factor == pytest.approx(0.1)
    again = Plateau(Recipe(schedule="plateau"), per_epoch=2)
    again.load_state_dict(plateau.state_dict())
    assert again.factor == plateau.factor and again.best == 3
