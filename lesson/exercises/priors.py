"""Where are the priors of a feature map?

python -m pytest tests/test_priors.py --mine lesson/exercises/priors.py
"""


def lay_priors(base_priors, grid, steps):
    """Lay the priors of the first cell over every cell -> [H * W * S, 4], xyxy in pixels.

    base_priors [S, 4], grid (rows, columns), steps (pixels from cell to cell down, and across). A
    prior of row r and column c is that of the first cell, moved by (c * across, r * down). The
    order is that of the predictions: row by row, in a row column by column, in a cell shape by
    shape.

    Hint: torch.meshgrid(..., indexing="ij"), then one sum that broadcasts [H, W, 1, 4] and [S, 4].
    """
    raise NotImplementedError
