"""Fast forms: focal_loss and its gradient in one pass over the logits, with the same numbers."""

import torch
import torch.nn.functional as F

from layers.matching import IGNORED

CHUNK_SIZE = {"cpu": 1 << 18}  # logits at a time: on a CPU, what its cache holds


def cost_and_slope(logits, gamma):
    """cost_if_absent and its derivative, which share most of the work."""
    p, minus_log = logits.sigmoid(), F.softplus(logits)
    weight = p**gamma
    cost = weight * minus_log
    # d/dx p^gamma s = p^gamma p + gamma p^gamma s (1 - p), for s = softplus(x) has the derivative
    # p.
    slope = torch.addcmul(weight.mul_(p), cost, p.neg_().add_(1), value=gamma)
    return cost, slope


class FastFocalLoss(torch.autograd.Function):
    """forward computes the gradient as well, and backward only hands it on."""

    @staticmethod
    def forward(ctx, logits, labels, alpha, gamma):
        logits, num_classes = logits.contiguous(), logits.shape[-1]
        rows, loss = logits.view(-1, num_classes), logits.new_zeros(())
        gradient = torch.empty_like(rows)
        weights = ((1 - alpha) * (labels != IGNORED)).view(-1, 1)
        chunk_size = CHUNK_SIZE.get(logits.device.type, logits.numel())
        chunk_rows = max(chunk_size // num_classes, 1)
        for start in range(0, len(rows), chunk_rows):
            chunk = slice(start, start + chunk_rows)
            cost, slope = cost_and_slope(rows[chunk], gamma)
            loss += (cost.sum(dim=1, keepdim=True) * weights[chunk]).sum()
            torch.mul(slope, weights[chunk], out=gradient[chunk])

        column, positive = labels.clamp(min=0)[..., None], (labels >= 0)[..., None]
        true_logit = logits.gather(-1, column)
        absent, absent_slope = cost_and_slope(true_logit, gamma)
        present, present_slope = cost_and_slope(-true_logit, gamma)
        loss += ((alpha * present - (1 - alpha) * absent) * positive).sum()
        change = -(alpha * present_slope + (1 - alpha) * absent_slope) * positive
        ctx.save_for_backward(gradient.view_as(logits).scatter_add_(-1, column, change))
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, outer_gradient):
        (gradient,) = ctx.saved_tensors
        # In place, for no other code has seen it.
        return gradient.mul_(outer_gradient), None, None, None


def fast_focal_loss(logits, labels, alpha, gamma):
    """The same as focal_loss, and the same arguments."""
    return FastFocalLoss.apply(logits, labels, alpha, gamma)
