"""The two answers to one problem: a thousand background priors for every object.

SSD throws most of the background away; RetinaNet keeps all of it and turns the easy part down.
Both take   box_deltas [B, A, 4], class_logits [B, A, ...], priors [A, 4], targets (B dicts)
and return  box_loss, class_loss, each summed and divided by the number of positive priors in the whole batch.
"""
import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn

from layers.boxes import decode, encode, giou
from layers.focal import FocalSum, focal_loss
from layers.matching import IGNORED, assign


class MultiBoxLoss(nn.Module):
    """SSD, Sec. 2.2, Eq. 1: cross entropy on the objects and the hardest background. class_logits [B, A, 1 + C]."""

    def __init__(self, negatives_per_positive=3, force_match=True):
        super().__init__()
        self.negatives_per_positive = negatives_per_positive
        self.force_match = force_match

    def forward(self, box_deltas, class_logits, priors, targets):
        labels, boxes = assign(targets, priors, positive_iou=0.5, negative_iou=0.5, force=self.force_match)
        return self.compare(box_deltas, class_logits, priors, labels, boxes)

    def compare(self, box_deltas, class_logits, priors, labels, boxes):
        """The losses, once it is known what every prior should predict."""
        positive = labels >= 0
        count = mean_positives(positive)

        box_loss = F.smooth_l1_loss(box_deltas, encode(boxes, priors), reduction="none")
        box_loss = (box_loss.sum(dim=-1) * positive).sum()

        # Column 0 is the background.
        columns = (labels + 1).clamp(min=0)
        class_loss = F.cross_entropy(class_logits.flatten(0, 1), columns.flatten(), reduction="none").view_as(columns)

        # Hard negative mining: of the background, keep only the priors the network gets most wrong.
        hardness = class_loss.detach().masked_fill(positive | (labels == IGNORED), -1)
        rank = hardness.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        # An image without objects has something to say, too: as much background as one object would bring.
        kept = self.negatives_per_positive * positive.sum(dim=1, keepdim=True).clamp(min=1)
        hard_negative = (rank < kept) & (hardness >= 0)
        class_loss = (class_loss * (positive | hard_negative)).sum()

        return box_loss / count, class_loss / count


class FocalLoss(nn.Module):
    """RetinaNet, Sec. 3.2, Eq. 5: all priors count, easy ones for almost nothing. class_logits [B, A, C].

    The box loss is smooth L1 with beta 1/9, over the four deltas' mean as Detectron's successors found better than the
    paper's sum, or one minus the generalized IoU (box_loss="giou").
    """

    def __init__(self, alpha=0.25, gamma=2.0, box_loss="smooth_l1", force_match=True):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma
        self.box_loss, self.force_match = box_loss, force_match

    def forward(self, box_deltas, class_logits, priors, targets):
        labels, boxes = assign(targets, priors, positive_iou=0.5, negative_iou=0.4, force=self.force_match)
        return self.compare(box_deltas, class_logits, priors, labels, boxes)

    def compare(self, box_deltas, class_logits, priors, labels, boxes):
        """The losses, once it is known what every prior should predict."""
        positive = labels >= 0
        count = mean_positives(positive)

        if self.box_loss == "giou":
            box_loss = 1 - giou(decode(box_deltas, priors), boxes)
        else:
            box_loss = F.smooth_l1_loss(box_deltas, encode(boxes, priors), beta=1 / 9, reduction="none").mean(dim=-1)
        box_loss = (box_loss * positive).sum()

        # A compiler makes one pass of the plain form; without, that needs a form of its own.
        sum_up = focal_loss if torch.compiler.is_compiling() else FocalSum.apply
        class_loss = sum_up(class_logits, labels, self.alpha, self.gamma)

        return box_loss / count, class_loss / count


def mean_positives(positive):
    """Positive priors of the batch, at least 1; of several processes the mean, as gradients are averaged, too."""
    count = positive.sum().float()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count.clamp(min=1)
