"""Losses: two answers to one problem, a thousand background priors for every object.

A prior matched to an object is positive; the others are ignored or background, which is mostly easy
to recognise. SSD uses only the hardest background; RetinaNet uses all of it, with almost no weight
on easy priors.

Both take   box_deltas [B, A, 4], class_logits [B, A, ...], priors [A, 4], targets (B dicts)
and return  box_loss, class_loss, each a sum over priors, divided by the number of positive ones.

That number is of the whole batch, which several processes may share. If a process cuts its share
into micro-batches, the caller passes the number as num_positives; see count_batch_positives.
"""

import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn

from layers.boxes import decode, encode, giou
from layers.fast import fast_focal_loss
from layers.matching import BACKGROUND, IGNORED, assign


class DetectionLoss(nn.Module):
    """What both losses share: match priors to objects, sum the losses, divide them.

    A subclass sums them in compare(). box_weight multiplies the box loss; SSD's paper calls it
    alpha.
    """

    def __init__(self, positive_iou, negative_iou, force_match, box_weight):
        super().__init__()
        self.matching = dict(
            positive_iou=positive_iou, negative_iou=negative_iou, force_match=force_match
        )
        self.box_weight = box_weight

    def forward(self, box_deltas, class_logits, priors, targets, num_positives=None):
        labels, boxes = assign(targets, priors, **self.matching)
        if num_positives is None:
            num_positives = count_positives(labels)
        box_loss, class_loss = self.compare(box_deltas, class_logits, priors, labels, boxes)
        return self.box_weight * box_loss / num_positives, class_loss / num_positives

    def count_batch_positives(self, model, micro_batches):
        """How many priors of a batch have an object; see count_positives.

        micro_batches are the (images, targets) that the batch is cut into. The losses of each are
        divided by the number in all of them, so priors are matched here and again in forward().
        With a single one, this returns None, and forward() counts.
        """
        if len(micro_batches) == 1:
            return None
        labels = []
        for images, targets in micro_batches:
            priors = model.priors(images.shape[-2:])
            labels.append(assign(targets, priors, **self.matching)[0])
        return count_positives(*labels)


class MultiBoxLoss(DetectionLoss):
    """SSD, Sec. 2.2, Eq. 1: cross entropy on the objects and the hardest background.

    class_logits [B, A, 1 + C], column 0 for the background.
    """

    def __init__(
        self,
        positive_iou=0.5,
        negative_iou=0.5,
        force_match=True,
        negatives_per_positive=3,
        box_weight=1.0,
    ):
        super().__init__(positive_iou, negative_iou, force_match, box_weight)
        self.negatives_per_positive = negatives_per_positive

    def compare(self, box_deltas, class_logits, priors, labels, boxes):
        """The sums of both losses, given the labels [B, A] and boxes [B, A, 4] to predict."""
        positive = labels >= 0

        box_loss = F.smooth_l1_loss(box_deltas, encode(boxes, priors), reduction="none")
        # A product: to select the positive priors, a GPU would have to be asked how many there are.
        box_loss = (box_loss.sum(dim=-1) * positive).sum()

        # Ignored priors get column 0 as well, but mine_hard_negatives leaves them out.
        columns = (labels + 1).clamp(min=0)
        class_loss = F.cross_entropy(
            class_logits.flatten(0, 1), columns.flatten(), reduction="none"
        ).view_as(columns)
        hard_negative = mine_hard_negatives(
            class_loss.detach(), labels, self.negatives_per_positive
        )
        class_loss = (class_loss * (positive | hard_negative)).sum()

        return box_loss, class_loss


class FocalLoss(DetectionLoss):
    """RetinaNet, Sec. 3.2, Eq. 5: all background counts, what is easy for almost nothing.

    class_logits [B, A, C]. box_loss is "smooth_l1", with beta 1/9 and the mean of four values,
    as in maskrcnn-benchmark, whose beta is 0.11 (the paper, Sec. 4.1, only names Fast R-CNN's,
    which is the sum, with beta 1); or "giou", one minus the generalized IoU.
    """

    def __init__(
        self,
        positive_iou=0.5,
        negative_iou=0.4,
        force_match=True,
        alpha=0.25,
        gamma=2.0,
        box_loss="smooth_l1",
        box_weight=1.0,
    ):
        super().__init__(positive_iou, negative_iou, force_match, box_weight)
        self.alpha = alpha
        self.gamma = gamma
        self.box_loss = box_loss

    def compare(self, box_deltas, class_logits, priors, labels, boxes):
        """The sums of both losses, given the labels [B, A] and boxes [B, A, 4] to predict."""
        positive = labels >= 0

        if self.box_loss == "giou":
            box_loss = 1 - giou(decode(box_deltas, priors), boxes)
        else:
            deltas = encode(boxes, priors)
            box_loss = F.smooth_l1_loss(box_deltas, deltas, beta=1 / 9, reduction="none").mean(-1)
        box_loss = (box_loss * positive).sum()

        # Both compute the same. Run plainly, focal_loss makes autograd keep several tensors as
        # large as the logits until the backward pass, and fast_focal_loss one. Compiled, focal_loss
        # is as frugal and as fast.
        loss = focal_loss if torch.compiler.is_compiling() else fast_focal_loss
        class_loss = loss(class_logits, labels, self.alpha, self.gamma)

        return box_loss, class_loss


def focal_loss(logits, labels, alpha, gamma):
    """The sum over all logits (RetinaNet, Eq. 5): logits [B, A, C], labels [B, A] -> a number.

    A label is a class, BACKGROUND or IGNORED.
    """
    classes = torch.arange(logits.shape[-1], device=logits.device)
    is_present = labels[..., None] == classes
    # A present class costs what an absent one does at 1 - p, which is sigmoid(-logit).
    cost = cost_if_absent(torch.where(is_present, -logits, logits), gamma)
    alpha_t = torch.where(is_present, alpha, 1 - alpha)
    return (alpha_t * cost * (labels != IGNORED)[..., None]).sum()


def cost_if_absent(logits, gamma):
    """p^gamma (-log(1 - p)), p = sigmoid(logit). softplus(x) is -log(1 - p), finite at p = 1."""
    return logits.sigmoid() ** gamma * F.softplus(logits)


def mine_hard_negatives(class_loss, labels, negatives_per_positive):
    """The background priors with the largest loss (SSD, Sec. 2.2): [B, A], [B, A] -> mask [B, A].

    Each image keeps negatives_per_positive of them for each positive prior. An image without
    objects keeps as many as if it had one positive prior, as its background teaches too (in the
    paper, the loss is then 0).
    """
    negative = labels == BACKGROUND
    hardness = class_loss.masked_fill(~negative, -1)
    # argsort twice turns values into ranks.
    rank = hardness.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    num_positives = (labels >= 0).sum(dim=1, keepdim=True)
    return negative & (rank < negatives_per_positive * num_positives.clamp(min=1))


def count_positives(*labels):
    """What the losses are divided by: how many priors of a whole batch have an object, at least 1,
    from labels [B, A] of its parts.

    If several processes share the batch, this count is divided by their number, which makes up for
    the average that DistributedDataParallel takes of their gradients.
    """
    count = sum((part >= 0).sum() for part in labels).float()
    num_processes = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        num_processes = torch.distributed.get_world_size()
    return count.clamp(min=1) / num_processes
