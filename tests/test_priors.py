import torch

from layers.priors import Level, grid_priors, pyramid_priors


def test_priors_are_ordered_by_row_column_and_shape():
    priors = grid_priors((16, 24), Level(8, ((4.0, 2.0), (6.0, 6.0))))
    assert priors.shape == (2 * 3 * 2, 4)
    assert priors[0].tolist() == [2, 3, 6, 5]      # the first shape at the centre (4, 4) of the first cell
    assert priors[1].tolist() == [1, 1, 7, 7]      # the second shape there
    assert priors[2].tolist() == [10, 3, 14, 5]    # one column further
    assert priors[6].tolist() == [2, 11, 6, 13]    # one row further


def test_a_cell_that_the_image_fills_in_part_counts():
    assert len(grid_priors((9, 1), Level(8, ((4.0, 4.0),)))) == 2


def test_priors_of_a_size_are_made_once():
    levels = (Level(8, ((4.0, 4.0),)), Level(16, ((8.0, 8.0),)))
    first, again = pyramid_priors((32, 32), levels), pyramid_priors((32, 32), levels)
    assert first is again and len(first) == 16 + 4


def test_a_prior_depends_on_its_cell_alone_not_on_the_image():
    level = (Level(64, ((32.0, 32.0),)),)
    torch.testing.assert_close(pyramid_priors((100, 100), level)[0], pyramid_priors((500, 300), level)[0])
