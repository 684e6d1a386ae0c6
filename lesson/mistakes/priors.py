"""What is asked of cell_priors and lay_priors, and what often goes wrong."""

import torch

from lesson.diagnose import Mistake, Probe

SQUARE = torch.tensor([[-4.0, -4, 12, 12]])
SHAPES = torch.tensor([[-4.0, -4, 12, 12], [-8, 0, 16, 8]])

PROBES = (
    Probe("a square as large as the cell", "cell_priors", (8, [(8, 8)])),
    Probe("a small wide box", "cell_priors", (8, [(4, 2)])),
    Probe("sides that are not whole", "cell_priors", (8, [(4.5, 2.5)])),
    Probe("three shapes", "cell_priors", (16, [(16, 16), (40, 20), (20, 40)])),
    Probe("a single cell", "lay_priors", (SQUARE, (1, 1), (8, 8))),
    Probe("two cells side by side", "lay_priors", (SQUARE, (1, 2), (8, 8))),
    Probe("two cells, one below the other", "lay_priors", (SQUARE, (2, 1), (8, 8))),
    Probe("one cell with two shapes", "lay_priors", (SHAPES, (1, 1), (8, 8))),
    Probe("two rows of three cells", "lay_priors", (SQUARE, (2, 3), (8, 8))),
    Probe("steps that are not equal", "lay_priors", (SHAPES, (2, 2), (8, 10))),
    Probe("two shapes on a map", "lay_priors", (SHAPES, (3, 4), (8, 8))),
)

SHIFT = "y, x = torch.meshgrid(rows * steps[0], columns * steps[1]"

MISTAKES = (
    Mistake(
        "The priors are centred on the corner of the cell; its centre is half a stride further.",
        (("centre = stride / 2", "centre = 0"),),
    ),
    Mistake(
        "The centre of the cell is half a stride from the corner, not a whole one.",
        (("centre = stride / 2", "centre = stride"),),
    ),
    Mistake(
        "A prior reaches half its width to each side of the centre, not all of it.",
        (("[centre - size / 2, centre + size / 2]", "[centre - size, centre + size]"),),
    ),
    Mistake(
        "The priors begin at the centre of the cell; they must be centred on it.",
        (("[centre - size / 2, centre + size / 2]", "[centre + 0 * size, centre + size]"),),
    ),
    Mistake(
        "The result is (x, y, width, height); it must be left, top, right, bottom.",
        (("[centre - size / 2, centre + size / 2]", "[centre + 0 * size, size]"),),
    ),
    Mistake(
        "Width and height are exchanged: a shape is (width, height).",
        (("dtype=torch.float32)", "dtype=torch.float32).flip(1)"),),
    ),
    Mistake(
        "The sides are cut to whole pixels; a prior may end anywhere.",
        (("dtype=torch.float32)", "dtype=torch.long)"),),
    ),
    Mistake(
        "Half a cell is counted twice: the priors of the first cell are centred on it already.",
        ((SHIFT, "y, x = torch.meshgrid((rows + 0.5) * steps[0], (columns + 0.5) * steps[1]"),),
    ),
    Mistake(
        "The order is column by column; it must be row by row: x changes faster than y.",
        (("+ base_priors  # [H, W, S, 4]", "+ base_priors\n    priors = priors.transpose(0, 1)"),),
    ),
    Mistake(
        "All cells of one shape come first; in the order of the predictions, all shapes of a cell "
        "are neighbours.",
        (("+ base_priors  # [H, W, S, 4]", "+ base_priors\n    priors = priors.movedim(2, 0)"),),
    ),
    Mistake(
        "x and y are exchanged: x moves with the column, and y with the row.",
        (("torch.stack([x, y, x, y], dim=-1)", "torch.stack([y, x, y, x], dim=-1)"),),
    ),
    Mistake(
        "The grid is (rows, columns), not (columns, rows).",
        (
            (
                "torch.arange(grid[0]), torch.arange(grid[1])",
                "torch.arange(grid[1]), torch.arange(grid[0])",
            ),
        ),
    ),
    Mistake(
        "The steps are (down, across), not (across, down).",
        ((SHIFT, "y, x = torch.meshgrid(rows * steps[1], columns * steps[0]"),),
    ),
    Mistake(
        "Both corners of a prior move: only left and top do, so that the priors grow.",
        (("torch.stack([x, y, x, y], dim=-1)", "torch.stack([x, y, 0 * x, 0 * y], dim=-1)"),),
    ),
    Mistake(
        "Cells are as far apart as steps says, not one pixel.",
        ((SHIFT, "y, x = torch.meshgrid(rows, columns"),),
    ),
)
