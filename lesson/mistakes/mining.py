"""What is asked of mine_hard_negatives, and what often goes wrong."""

import torch

from lesson.diagnose import Mistake, Probe


def probe(name, class_loss, labels, negatives_per_positive):
    arguments = torch.tensor(class_loss), torch.tensor(labels), negatives_per_positive
    return Probe(name, "mine_hard_negatives", arguments)


PROBES = (
    probe(
        "one object and four background priors",
        [[0.1, 5.0, 0.4, 0.3, 0.2]],
        [[-1, 0, -1, -1, -1]],
        2,
    ),
    probe("losses that are not in order", [[0.3, 0.9, 0.1, 0.7, 0.5]], [[-1, -1, 2, -1, -1]], 2),
    probe("a prior to ignore", [[0.1, 9.0, 0.4, 0.3]], [[0, -2, -1, -1]], 1),
    probe("an image without objects", [[0.1, 0.2, 0.4, 0.3]], [[-1, -1, -1, -1]], 3),
    probe("less background than may be kept", [[0.1, 0.2, 0.4]], [[-1, 0, 1]], 3),
    probe(
        "two images",
        [[0.1, 0.2, 0.4, 0.3, 0.6], [7.0, 8.0, 6.0, 9.0, 5.0]],
        [[0, 0, -1, -1, -1], [-1, -1, -1, 0, 1]],
        1,
    ),
)

MISTAKES = (
    Mistake(
        "An image without objects keeps nothing; it must keep some of its background.",
        ((".clamp(min=1)", ""),),
    ),
    Mistake(
        "An image without objects keeps negatives_per_positive priors, as if it had one object, "
        "not a single one.",
        (
            (
                "negatives_per_positive * num_positives.clamp(min=1)",
                "(negatives_per_positive * num_positives).clamp(min=1)",
            ),
        ),
    ),
    Mistake(
        "The priors with the smallest loss are kept; the hard ones have the largest.",
        (
            (
                "hardness = class_loss.masked_fill(~negative, -1)",
                "hardness = -class_loss.masked_fill(~negative, float('inf'))",
            ),
        ),
    ),
    Mistake(
        "The ranks begin with the smallest loss: argsort needs descending=True.",
        (("descending=True", "descending=False"),),
    ),
    Mistake(
        "argsort once gives the places of the sorted losses, not their ranks: use it twice.",
        ((".argsort(dim=1, descending=True).argsort(dim=1)", ".argsort(dim=1, descending=True)"),),
    ),
    Mistake(
        "All images share one ranking; each must have one of its own: dim=1.",
        (
            (
                ".argsort(dim=1, descending=True).argsort(dim=1)",
                ".flatten().argsort(descending=True).argsort().view_as(labels)",
            ),
            (".sum(dim=1, keepdim=True)", ".sum()"),
        ),
    ),
    Mistake(
        "The positive priors of all images are counted together; every image has its own number.",
        ((".sum(dim=1, keepdim=True)", ".sum()"),),
    ),
    Mistake(
        "Priors to ignore, label -2, are taken for background.",
        (("labels == -1", "labels < 0"),),
    ),
    Mistake(
        "Priors to ignore, label -2, take places among the hardest.",
        (("masked_fill(~negative, -1)", "masked_fill(labels >= 0, -1)"),),
    ),
    Mistake(
        "Positive priors take places among the hardest: their loss must not be ranked.",
        (("masked_fill(~negative, -1)", "masked_fill(labels == -2, -1)"),),
    ),
    Mistake(
        "Neither positive priors nor those to ignore may take places among the hardest.",
        (("class_loss.masked_fill(~negative, -1)", "class_loss"),),
    ),
    Mistake(
        "The mask also has the positive priors; only background may be in it.",
        (
            (
                "return negative & (rank < num_kept)",
                "return negative & (rank < num_kept) | (labels >= 0)",
            ),
        ),
    ),
    Mistake(
        "Only the priors of class 0 are counted as positive: every label from 0 on is.",
        (("(labels >= 0)", "(labels == 0)"),),
    ),
    Mistake(
        "Priors of class 0 are not counted as positive: every label from 0 on is.",
        (("(labels >= 0)", "(labels > 0)"),),
    ),
)
