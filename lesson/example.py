"""The example that runs through the lesson: one image, one object on it, and both detectors."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from data.dataset import Dataset
from data.reading import read_folder, select_classes
from data.records import pack
from layers.boxes import decode, encode, giou, iou
from layers.detections import detections
from layers.losses import cost_if_absent, mine_hard_negatives
from layers.matching import assign
from layers.priors import level_sizes, pyramid_priors
from lesson.runs import DATA, RECIPES
from utils.build import build_collate, build_levels, build_transform

IMAGE, OBJECT = 66, 6  # of the validation images, and of its objects: a blue ellipse
NAMES = dict(ssd="SSD300", retinanet="RetinaNet")


class View(NamedTuple):
    """An image as a detector sees it in training, and what each of its priors should predict."""

    name: str
    recipe: object
    classes: list
    image: np.ndarray  # [H, W, 3], without the padding
    images: torch.Tensor  # [1, 3, H, W], with it
    targets: list  # of one image
    levels: tuple
    level_sizes: list  # how many priors each level has
    priors: torch.Tensor  # [A, 4]
    overlaps: torch.Tensor  # [N, A] IoU of objects and priors
    labels: torch.Tensor  # [A] a class, BACKGROUND or IGNORED
    boxes: torch.Tensor  # [A, 4] of the objects that priors are matched to

    def level_of(self, prior):
        """The level that a prior belongs to, 0 the finest."""
        return int(np.searchsorted(np.cumsum(self.level_sizes), prior, side="right"))

    def best_prior(self, row):
        """The prior that overlaps an object most."""
        return int(self.overlaps[row].argmax())


def val_dataset(name):
    """The shapes' validation images as the detector of that name, ssd or retinanet, sees them."""
    source = read_folder("shapes", DATA)
    classes = select_classes(source)
    records = pack(source.splits["val"], classes)
    return Dataset(classes, records, build_transform(RECIPES[name]))


def look(name, index=IMAGE):
    """The View of a validation image."""
    recipe, dataset = RECIPES[name], val_dataset(name)
    image, target = dataset[0, index, (0, 0)]
    images, targets = build_collate(recipe)([(image, target)])
    levels, size = build_levels(recipe), tuple(images.shape[-2:])
    priors = pyramid_priors(size, levels)
    labels, boxes = assign(
        targets, priors, recipe.positive_iou, recipe.negative_iou, recipe.force_match
    )
    overlaps = iou(targets[0]["boxes"], priors)
    return View(
        name, recipe, dataset.classes, image, images, targets, levels,
        level_sizes(size, levels), priors, overlaps, labels[0], boxes[0],
    )  # fmt: skip


class Prediction(NamedTuple):
    """What a model says of the example image, and what it costs, prior by prior."""

    deltas: torch.Tensor  # [A, 4]
    logits: torch.Tensor  # [A, C or 1 + C]
    scores: torch.Tensor  # [A, C]
    decoded: torch.Tensor  # [A, 4]
    class_costs: torch.Tensor  # [A] before mining, in SSD; summed over classes in RetinaNet
    box_costs: torch.Tensor  # [A] of positives, else 0
    counts: torch.Tensor  # [A] whether the class cost counts


@torch.no_grad()
def predictions(view, model):
    """The Prediction of a model on a View."""
    deltas, logits = (part[0] for part in model(view.images))
    is_ssd = view.name == "ssd"
    class_costs, counts = (ssd_costs if is_ssd else focal_costs)(view, logits)
    positive = view.labels >= 0
    if is_ssd:
        errors = F.smooth_l1_loss(deltas, encode(view.boxes, view.priors), reduction="none")
        box_costs = errors.sum(dim=-1)
    else:
        box_costs = 1 - giou(decode(deltas, view.priors), view.boxes)
    return Prediction(
        deltas, logits, model.scores(logits), decode(deltas, view.priors),
        class_costs, view.recipe.box_weight * box_costs * positive, counts,
    )  # fmt: skip


def ssd_costs(view, logits):
    """Cross entropy of every prior, and which of them count: MultiBoxLoss.compare, undivided."""
    costs = F.cross_entropy(logits, (view.labels + 1).clamp(min=0), reduction="none")
    ratio = view.recipe.negatives_per_positive
    hard = mine_hard_negatives(costs[None], view.labels[None], ratio)[0]
    return costs, hard | (view.labels >= 0)


def focal_costs(view, logits):
    """The focal terms of every prior, summed over classes, and which priors count."""
    alpha, gamma = view.recipe.focal_alpha, view.recipe.focal_gamma
    is_class = F.one_hot(view.labels.clamp(min=0), logits.shape[-1]).bool()
    is_class &= (view.labels >= 0)[:, None]
    present, absent = alpha * cost_if_absent(-logits, gamma), cost_if_absent(logits, gamma)
    return torch.where(is_class, present, (1 - alpha) * absent).sum(dim=-1), view.labels != -2


def was_kept(view, model, prediction, row):
    """Whether the box of a prior is among the image's detections, rather than suppressed."""
    recipe = view.recipe
    found = detections(
        prediction.deltas, prediction.logits, view.priors, None, model.scores,
        view.level_sizes if recipe.topk_per == "level" else None,
        recipe.score_threshold, recipe.nms_iou, recipe.pre_nms_topk, recipe.max_detections,
    )  # fmt: skip
    return bool(torch.isclose(found["boxes"], prediction.decoded[row]).all(dim=1).any())
