import torch

from layers.priors import (
    apply_heads,
    grid_priors,
    lay_priors,
    level_counts,
    make_level,
    per_prior,
    pyramid_priors,
)


def test_priors_are_ordered_by_row_column_and_shape():
    priors = grid_priors((16, 24), make_level(8, ((4.0, 2.0), (6.0, 6.0))))
    assert priors.shape == (2 * 3 * 2, 4)
    assert priors[0].tolist() == [
        2,
        3,
        6,
        5,
    ]  # the first shape at the centre (4, 4) of the first cell
    assert priors[1].tolist() == [1, 1, 7, 7]  # the second shape there
    assert priors[2].tolist() == [10, 3, 14, 5]  # one column further
    assert priors[6].tolist() == [2, 11, 6, 13]  # one row further


def test_a_column_further_is_a_step_to_the_right_and_a_row_further_one_down():
    priors = lay_priors(torch.tensor([[0.0, 0, 2, 2]]), (2, 2), (10, 7))
    message = "the order is row by row, and in a row column by column; x moves with the column"
    assert priors[:, :2].tolist() == [[0, 0], [7, 0], [0, 10], [7, 10]], message


def test_a_cell_that_the_image_fills_in_part_counts():
    assert len(grid_priors((9, 1), make_level(8, ((4.0, 4.0),)))) == 2


def test_priors_of_a_size_are_made_once():
    levels = (make_level(8, ((4.0, 4.0),)), make_level(16, ((8.0, 8.0),)))
    first, again = pyramid_priors((32, 32), levels), pyramid_priors((32, 32), levels)
    assert first is again and len(first) == 16 + 4 and level_counts((32, 32), levels) == [16, 4]


def test_a_prior_depends_on_its_cell_alone_not_on_the_image():
    level = (make_level(64, ((32.0, 32.0),)),)
    torch.testing.assert_close(
        pyramid_priors((100, 100), level)[0], pyramid_priors((500, 300), level)[0]
    )


def test_a_fitted_stride_divides_the_image_by_its_cells():
    """torchvision's: 100 pixels are 2 cells of stride 64, which stand 50 apart."""
    level = make_level(64, ((2.0, 2.0),))._replace(fitted_stride=True)
    assert grid_priors((100, 64), level).tolist() == [[31, 31, 33, 33], [31, 81, 33, 83]]


def test_clamped_priors_are_no_larger_than_the_image():
    level = make_level(8, ((20.0, 4.0),))
    assert grid_priors((8, 8), level._replace(clamp="sizes")).tolist() == [[0, 2, 8, 6]]
    assert grid_priors((6, 6), level._replace(clamp="centres")).tolist() == [[1, 2, 7, 6]]


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
