"""How can all background priors teach, and none drown the objects?

The sigmoid of -x is 1 - p. So where a class is present, the logit's sign is changed, and what
follows is the cost of an absent class for both: p is then always the probability of the wrong
answer. The factor p^gamma is small where p is, and this is the whole idea. softplus(x) is
-ln(1 - sigmoid(x)), but computed from the logit, and does not round a probability to 1. The labels
-1 and -2 equal no class, so all classes are absent there; the last line takes -2 out. The factor
belongs to the loss: its gradient counts, too.
"""

import torch
from torch.nn import functional as F


def focal_loss(logits, labels, alpha, gamma):
    is_present = labels[..., None] == torch.arange(logits.shape[-1])
    x = torch.where(is_present, -logits, logits)
    p = x.sigmoid()
    cost = p**gamma * F.softplus(x)
    weight = torch.where(is_present, alpha, 1 - alpha)
    counts = (labels != -2)[..., None]
    return (weight * cost * counts).sum()
