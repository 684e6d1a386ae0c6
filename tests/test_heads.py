import torch

from layers.heads import apply_heads, per_prior


def test_a_prediction_and_its_prior_stand_in_the_same_row():
    # Light up one cell of a head's map: row 2, column 1, second of three shapes, third number.
    prediction = torch.zeros(1, 3 * 4, 5, 6)
    prediction[0, 1 * 4 + 2, 2, 1] = 1
    assert per_prior(prediction, 4)[0, (2 * 6 + 1) * 3 + 1].tolist() == [0, 0, 1, 0]


def test_levels_are_joined_finest_first():
    maps = [torch.full((2, 8, side, side), float(side)) for side in (3, 1)]
    joined = apply_heads([torch.nn.Identity()] * 2, maps, 4)
    assert joined.shape == (2, 2 * 9 + 2, 4)
    assert (joined[:, :18] == 3).all() and (joined[:, 18:] == 1).all()
