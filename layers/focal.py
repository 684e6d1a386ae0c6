"""Focal loss: nearly all of the many priors are background, and what is easily told to be hardly counts."""
import torch
import torch.nn.functional as F

from layers.matching import IGNORED

CHUNK = {"cpu": 1 << 18}  # logits at a time: of a CPU, what its cache holds


def focal_loss(logits, labels, alpha, gamma):
    """The sum over all logits (RetinaNet, Eq. 5), [B, A, C]; labels [B, A] are a class, BACKGROUND or IGNORED.

    First every logit is asked to say no; then those few that should have said yes are corrected.
    """
    loss = (cost(logits, gamma).sum(dim=-1) * (1 - alpha) * (labels != IGNORED)).sum()
    own = logits.gather(2, labels.clamp(min=0)[..., None])[..., 0]
    return loss + ((alpha * cost(-own, gamma) - (1 - alpha) * cost(own, gamma)) * (labels >= 0)).sum()


def cost(logits, gamma):
    """p^gamma (-log(1 - p)): what a yes costs where no is right. From logits, so that no p is rounded to 0 or 1."""
    return logits.sigmoid() ** gamma * F.softplus(logits)


def cost_and_slope(logits, gamma):
    """The same with its derivative, which shares most of the work."""
    p, surprise = logits.sigmoid(), F.softplus(logits)
    weight = p ** gamma
    loss = weight * surprise
    return loss, torch.addcmul(weight.mul_(p), loss, p.neg_().add_(1), value=gamma)


class FocalSum(torch.autograd.Function):
    """focal_loss in one pass over the logits: forward leaves nothing to backward but its finished gradient."""

    @staticmethod
    def forward(ctx, logits, labels, alpha, gamma):
        logits, classes = logits.contiguous(), logits.shape[-1]
        gradient = torch.empty_like(logits)
        weights = ((1 - alpha) * (labels != IGNORED)).view(-1, 1)
        loss, rows = logits.new_zeros(()), max(CHUNK.get(logits.device.type, logits.numel()) // classes, 1)
        for part, slope, weight in zip(*(one.split(rows) for one in (
                logits.view(-1, classes), gradient.view(-1, classes), weights))):
            part_loss, part_slope = cost_and_slope(part, gamma)
            loss += (part_loss.sum(dim=1, keepdim=True) * weight).sum()
            torch.mul(part_slope, weight, out=slope)
        column, positive = labels.clamp(min=0)[..., None], (labels >= 0)[..., None]
        own = logits.gather(2, column)
        no, no_slope = cost_and_slope(own, gamma)
        yes, yes_slope = cost_and_slope(-own, gamma)
        gradient.scatter_add_(2, column, -(alpha * yes_slope + (1 - alpha) * no_slope) * positive)
        ctx.save_for_backward(gradient)
        return loss + ((alpha * yes - (1 - alpha) * no) * positive).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, outer):
        gradient, = ctx.saved_tensors
        # Nobody else has seen it.
        return gradient.mul_(outer), None, None, None
