"""Where are the priors of a feature map?

The centre of the first cell is half a stride from the corner of the image, and its priors reach
half their width and half their height from there. All other cells are copies: each moves the same
priors by whole steps, and nothing else has to be known about them. The sum of shifts [H, W, 1, 4]
and base priors [S, 4] has the shape [H, W, S, 4], and flattening it gives the order that is asked
for, because the last dimension changes fastest: shape, then column, then row. A shift has four
numbers, as both corners move by the same amount.
"""

import torch


def cell_priors(stride, shapes):
    centre = stride / 2
    size = torch.tensor(shapes, dtype=torch.float32)
    return torch.cat([centre - size / 2, centre + size / 2], dim=1)


def lay_priors(base_priors, grid, steps):
    rows, columns = torch.arange(grid[0]), torch.arange(grid[1])
    y, x = torch.meshgrid(rows * steps[0], columns * steps[1], indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1)
    priors = shifts[:, :, None] + base_priors  # [H, W, S, 4]
    return priors.flatten(0, 2)
