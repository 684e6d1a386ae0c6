import torch

from layers.heads import Normalize, apply_heads, per_prior
from tests.test_retinanet import tiny


def test_a_prediction_and_its_prior_stand_in_the_same_row():
    # Light up one cell of a head's map: row 2, column 1, second of three shapes, third number.
    prediction = torch.zeros(1, 3 * 4, 5, 6)
    prediction[0, 1 * 4 + 2, 2, 1] = 1
    assert per_prior(prediction, 4)[0, (2 * 6 + 1) * 3 + 1].tolist() == [0, 0, 1, 0]


def test_bytes_and_floats_are_the_same_image():
    model, images = tiny().eval(), torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    torch.testing.assert_close(model(images), model(images.float()))


def test_pixels_are_normalised_channel_by_channel_and_nothing_is_saved():
    normalize = Normalize((10.0, 20.0, 30.0), (2.0, 4.0, 5.0))
    pixels = torch.tensor([12, 24, 40], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(pixels).flatten().tolist() == [1, 1, 2] and not normalize.state_dict()


def test_levels_are_joined_finest_first():
    maps = [torch.full((2, 8, side, side), float(side)) for side in (3, 1)]
    joined = apply_heads([torch.nn.Identity()] * 2, maps, 4)
    assert joined.shape == (2, 2 * 9 + 2, 4)
    assert (joined[:, :18] == 3).all() and (joined[:, 18:] == 1).all()
