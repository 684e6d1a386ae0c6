"""What is asked of focal_loss, and what often goes wrong."""

import torch

from lesson.diagnose import Mistake, Probe


def probe(name, logits, labels):
    logits = torch.tensor(logits, requires_grad=True)
    return Probe(name, "focal_loss", (logits, torch.tensor(labels), 0.25, 2.0))


PROBES = (
    probe("one background prior", [[[-1.0]]], [[-1]]),
    probe("one prior with an object", [[[1.0]]], [[0]]),
    probe("a prior to ignore", [[[1.0], [0.5]]], [[-2, 0]]),
    probe("two classes", [[[1.0, -0.5]]], [[0]]),
    probe("a background prior and two classes", [[[1.0, -0.5]]], [[-1]]),
    probe("an object that is missed by far", [[[-200.0, -3.0]]], [[0]]),
    probe("background that is mistaken by far", [[[200.0, -3.0]]], [[-1]]),
    probe(
        "two images",
        [[[0.5, -1.0, 2.0], [1.5, 0.2, -0.3]], [[0.1, 1.1, -2.1], [0.4, 0.3, -1.3]]],
        [[2, -1], [-2, 1]],
    ),
)

PRESENT = "labels[..., None] == torch.arange(logits.shape[-1])"

MISTAKES = (
    Mistake(
        "alpha and 1 - alpha are exchanged: alpha is the weight where the class is present.",
        (
            (
                "torch.where(is_present, alpha, 1 - alpha)",
                "torch.where(is_present, 1 - alpha, alpha)",
            ),
        ),
    ),
    Mistake(
        "alpha is the weight of all; where a class is absent, it must be 1 - alpha.",
        (("torch.where(is_present, alpha, 1 - alpha)", "alpha"),),
    ),
    Mistake(
        "Where a class is absent, the weight 1 - alpha is missing.",
        (("torch.where(is_present, alpha, 1 - alpha)", "torch.where(is_present, alpha, 1.0)"),),
    ),
    Mistake(
        "The weights alpha and 1 - alpha are missing.",
        (("weight * cost", "cost"),),
    ),
    Mistake(
        "The loss is the sum over all logits, not the mean: it is divided later, by the number of "
        "positive priors.",
        ((".sum()", ".mean()"),),
    ),
    Mistake(
        "The loss is divided by the number of positive priors already; that comes later.",
        ((".sum()", ".sum() / (labels >= 0).sum().clamp(min=1)"),),
    ),
    Mistake(
        "Priors to ignore, label -2, are counted as background; they must cost nothing.",
        (("weight * cost * counts", "weight * cost"),),
    ),
    Mistake(
        "Background, label -1, costs nothing; only label -2 is to be ignored.",
        (("(labels != -2)", "(labels >= 0)"),),
    ),
    Mistake(
        "Background, label -1, is taken for the last class: Python counts -1 from the end.",
        ((PRESENT, "(labels % logits.shape[-1])[..., None] == torch.arange(logits.shape[-1])"),),
    ),
    Mistake(
        "Background, label -1, is taken for class 0; all classes are absent there.",
        ((PRESENT, PRESENT.replace("labels", "labels.clamp(min=0)")),),
    ),
    Mistake(
        "Labels begin with 0, the first class; there is no column for the background.",
        ((PRESENT, "labels[..., None] == torch.arange(1, 1 + logits.shape[-1])"),),
    ),
    Mistake(
        "Only the class of the object costs something; every absent class must, too.",
        (("weight * cost * counts", "weight * cost * counts * is_present"),),
    ),
    Mistake(
        "The factor is that of the right answer's probability: where a class is present it is "
        "(1 - p)^gamma, where it is absent p^gamma.",
        (("p**gamma *", "(1 - p) ** gamma *"),),
    ),
    Mistake(
        "The factor with gamma is missing: this is cross entropy.",
        (("p**gamma * ", ""),),
    ),
    Mistake(
        "gamma is an exponent, not a factor.",
        (("p**gamma", "gamma * p"),),
    ),
    Mistake(
        "The value is right, but not the gradient: p is detached, and the factor p^gamma must have "
        "a gradient, too.",
        (("p**gamma", "p.detach() ** gamma"),),
    ),
    Mistake(
        "The logarithm of a rounded probability is not finite for the worst mistakes: compute "
        "-ln(p) from the logit, with softplus.",
        (("F.softplus(x)", "-torch.log(1 - p)"),),
    ),
    Mistake(
        "p is clamped, so that the worst mistakes have no gradient: compute -ln(p) from the logit, "
        "with softplus.",
        (
            ("x.sigmoid()", "x.sigmoid().clamp(1e-4, 1 - 1e-4)"),
            ("F.softplus(x)", "-torch.log(1 - p)"),
        ),
    ),
    Mistake(
        "p is a softmax over the classes; in RetinaNet each class has a sigmoid of its own.",
        (
            ("x.sigmoid()", "torch.where(is_present, 1 - logits.softmax(-1), logits.softmax(-1))"),
            ("F.softplus(x)", "-torch.log(1 - p)"),
        ),
    ),
    Mistake(
        "The sign is wrong: the logarithm of a probability is negative, and the loss is not.",
        (("F.softplus(x)", "-F.softplus(x)"),),
    ),
)
