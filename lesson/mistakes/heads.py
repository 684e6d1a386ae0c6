"""What is asked of per_prior, predict and initial_bias, and what often goes wrong."""

import torch
from torch import nn

from lesson.diagnose import Mistake, Probe


def count_up(*shape):
    """A tensor of this shape with the values 0, 1, 2, ..."""
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def make_head(channels):
    """A head that gives so many channels, from maps with two."""
    head = nn.Conv2d(2, channels, 1)
    nn.init.constant_(head.weight, 0.5)
    head.bias.data = torch.arange(channels) / 10
    return head


MAPS = [count_up(2, 2, 2, 3), 20 + count_up(2, 2, 1, 2)]

PROBES = (
    Probe("one shape on a row of two cells", "per_prior", (count_up(1, 4, 1, 2), 4)),
    Probe("two shapes in one cell", "per_prior", (count_up(1, 8, 1, 1), 4)),
    Probe("one number in two rows of three cells", "per_prior", (count_up(1, 1, 2, 3), 1)),
    Probe("two shapes in two rows of three cells", "per_prior", (count_up(1, 6, 2, 3), 3)),
    Probe("two images", "per_prior", (count_up(2, 8, 2, 3), 4)),
    Probe("one level", "predict", (MAPS[:1], make_head(8), make_head(6), 3)),
    Probe("two levels", "predict", (MAPS, make_head(8), make_head(6), 3)),
    Probe("a half", "initial_bias", (0.5,)),
    Probe("a fifth", "initial_bias", (0.2,)),
    Probe("a hundredth", "initial_bias", (0.01,)),
)

ROWS = "prediction.permute(0, 2, 3, 1).reshape(len(prediction), -1, num_values)"

MISTAKES = (
    Mistake(
        "reshape alone mixes the numbers of different cells: permute(0, 2, 3, 1) must put the "
        "channels last before it.",
        ((".permute(0, 2, 3, 1)", ""),),
    ),
    Mistake(
        "The order is column by column; it must be row by row: permute(0, 2, 3, 1).",
        ((".permute(0, 2, 3, 1)", ".permute(0, 3, 2, 1)"),),
    ),
    Mistake(
        "All cells of one shape come first; in the order of the priors, all shapes of a cell are "
        "neighbours.",
        ((ROWS, "prediction.unflatten(1, (-1, num_values)).permute(0, 1, 3, 4, 2).flatten(1, 3)"),),
    ),
    Mistake(
        "The channels are the numbers of the first shape, then those of the second; they were read "
        "as the first number of all shapes, then the second.",
        ((ROWS, "prediction.unflatten(1, (num_values, -1)).permute(0, 3, 4, 2, 1).flatten(1, 3)"),),
    ),
    Mistake(
        "The images of a batch are mixed: the first dimension must remain B.",
        ((ROWS, "prediction.permute(2, 3, 0, 1).reshape(len(prediction), -1, num_values)"),),
    ),
    Mistake(
        "The coarsest level comes first; it must be the finest.",
        ((" for x in feature_maps]", " for x in reversed(feature_maps)]"),),
    ),
    Mistake(
        "The levels must follow each other in each image: torch.cat(..., dim=1).",
        ((", dim=1)", ", dim=0)"),),
    ),
    Mistake(
        "Only the first level is in the result; the predictions of all must follow each other.",
        ((" for x in feature_maps]", " for x in feature_maps[:1]]"),),
    ),
    Mistake(
        "The scores are returned; the losses need the logits, without a sigmoid or softmax.",
        (("torch.cat(class_logits, dim=1)", "torch.cat(class_logits, dim=1).sigmoid()"),),
    ),
    Mistake(
        "The two results are exchanged: box_deltas come first.",
        (
            (
                "return torch.cat(box_deltas, dim=1), torch.cat(class_logits, dim=1)",
                "return torch.cat(class_logits, dim=1), torch.cat(box_deltas, dim=1)",
            ),
        ),
    ),
    Mistake(
        "The sign is wrong: a rare object needs a bias below 0.",
        (("math.log(probability", "-math.log(probability"),),
    ),
    Mistake(
        "The inverse of the sigmoid is ln(p / (1 - p)), not ln(p).",
        (("probability / (1 - probability)", "probability"),),
    ),
    Mistake(
        "The bias is a logit; its sigmoid is the probability.",
        (("math.log(probability / (1 - probability))", "probability"),),
    ),
)
