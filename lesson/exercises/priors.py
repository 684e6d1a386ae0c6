"""Where are the priors of a feature map?

python -m lesson exercises priors
"""


def cell_priors(stride, shapes):
    """The priors of the first cell, centred on it: a tensor [S, 4], xyxy in pixels.

    The first cell is the square from (0, 0) to (stride, stride). shapes is a list of (width,
    height) in pixels.
    """
    raise NotImplementedError


def lay_priors(base_priors, grid, steps):
    """Lay the priors of the first cell over every cell -> [H * W * S, 4], xyxy in pixels.

    base_priors [S, 4], grid (rows, columns), steps (pixels from cell to cell down, and across). A
    prior of row r and column c is that of the first cell, moved by (c * across, r * down). The
    order is that of the predictions: row by row, in a row column by column, in a cell shape by
    shape.

    Hint: torch.meshgrid(..., indexing="ij"), then one sum that broadcasts [H, W, 1, 4] and [S, 4].
    """
    raise NotImplementedError
