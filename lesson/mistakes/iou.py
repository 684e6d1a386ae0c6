"""What is asked of iou, and what often goes wrong."""

import torch

from lesson.diagnose import Mistake, Probe

BOX = torch.tensor([[0.0, 0, 10, 10]])

PROBES = (
    Probe("two boxes that share a third", "iou", (BOX, torch.tensor([[5.0, 0, 15, 10]]))),
    Probe("two boxes that touch", "iou", (BOX, torch.tensor([[10.0, 0, 20, 10]]))),
    Probe("two boxes that are apart", "iou", (BOX, torch.tensor([[20.0, 30, 40, 50]]))),
    Probe("a box in a larger one", "iou", (BOX, torch.tensor([[-10.0, -10, 10, 10]]))),
    Probe(
        "two boxes and three others",
        "iou",
        (
            torch.tensor([[0.0, 0, 8, 4], [2, 1, 6, 9]]),
            torch.tensor([[0.0, 0, 8, 4], [4, 2, 8, 6], [50, 0, 60, 3]]),
        ),
    ),
    Probe("no boxes", "iou", (torch.zeros(0, 4), BOX)),
)

MISTAKES = (
    Mistake(
        "Boxes that are apart have a negative width or height; it must become 0: .clamp(min=0).",
        ((".clamp(min=0)", ""),),
    ),
    Mistake(
        "The shared width and height must become 0 before they are multiplied: the product of two "
        "negative numbers is positive.",
        ((".clamp(min=0).prod(dim=-1)", ".prod(dim=-1).clamp(min=0)"),),
    ),
    Mistake(
        "A box is right - left wide. Sides are places between pixels, so there is no + 1.",
        (
            ("(bottom_right - top_left)", "(bottom_right - top_left + 1)"),
            ("2:] - boxes[..., :2]", "2:] - boxes[..., :2] + 1"),
            ("2:] - others[:, :2]", "2:] - others[:, :2] + 1"),
        ),
    ),
    Mistake(
        "The shared width and height have a + 1 that the boxes' own do not have, and need not.",
        (("(bottom_right - top_left)", "(bottom_right - top_left + 1)"),),
    ),
    Mistake(
        "The union counts the shared area twice: subtract it once from the sum of both areas.",
        (("(area + other_area - shared)", "(area + other_area)"),),
    ),
    Mistake(
        "The shared area is divided by the first box's area, not by the union of both.",
        (("(area + other_area - shared)", "area"),),
    ),
    Mistake(
        "The shared area is divided by the other box's area, not by the union of both.",
        (("(area + other_area - shared)", "other_area"),),
    ),
    Mistake(
        "The shared area is divided by the smaller box's area, not by the union of both.",
        (("(area + other_area - shared)", "torch.minimum(area, other_area)"),),
    ),
    Mistake(
        "The shared rectangle begins at the larger left and top, and ends at the smaller right and "
        "bottom. With minimum and maximum exchanged, it is the one that encloses both.",
        (
            ("torch.maximum", "TORCH"),
            ("torch.minimum", "torch.maximum"),
            ("TORCH", "torch.minimum"),
        ),
    ),
    Mistake(
        "The result is the wrong way round: the rows must be boxes, and the columns others.",
        (("return shared / (", "return (shared.T) / ("), ("- shared)", "- shared).T")),
    ),
)
