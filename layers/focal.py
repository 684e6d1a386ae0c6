"""Focal loss: nearly all priors are background, and the easily recognised ones hardly count."""

import torch.nn.functional as F

from layers.matching import IGNORED


def focal_loss(logits, labels, alpha, gamma):
    """The sum over all logits (RetinaNet, Eq. 5): logits [B, A, C], labels [B, A] -> a number.

    A label is a class, BACKGROUND or IGNORED. Every logit is first charged as if its class were
    absent; the few whose class is present are then charged for that instead.
    """
    counts = labels != IGNORED
    loss = ((1 - alpha) * cost_if_absent(logits, gamma).sum(dim=-1) * counts).sum()

    positive = labels >= 0
    true_logit = logits.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    # Where the class is present, 1 - p takes the place of p, and the sigmoid of -x is 1 - p.
    cost_if_present = alpha * cost_if_absent(-true_logit, gamma)
    charged_already = (1 - alpha) * cost_if_absent(true_logit, gamma)
    return loss + ((cost_if_present - charged_already) * positive).sum()


def cost_if_absent(logits, gamma):
    """p^gamma (-log(1 - p)) of an absent class, from logits, so that no p is rounded to 1."""
    return logits.sigmoid() ** gamma * F.softplus(logits)
