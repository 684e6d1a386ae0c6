"""From the words in a recipe to the objects they name."""
import os
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from data.augment import RetinaNetAugmentation, SSDAugmentation
from data.batch import Collate
from data.dataset import READERS, Dataset
from data.errors import UserError
from data.examine import examine
from data.formats import coco, csv_file
from data.resize import Resize, Stretch
from layers.losses import FocalLoss, MultiBoxLoss
from retinanet import MEAN as IMAGENET_MEAN
from retinanet import RetinaNet
from retinanet import prior_levels as retinanet_levels
from ssd import MEAN as SSD_MEAN
from ssd import SSD
from ssd import prior_levels as ssd_levels
from utils.conventions import follow, placed
from utils.stop import leave_signals_to_parent

# Where a detector's name says what it is: the side of the images that SSD takes.
SIDES = {"ssd300": 300, "ssd512": 512}
MODELS = ("retinanet", *SIDES)
OPTIMIZERS = dict(sgd=torch.optim.SGD, adam=torch.optim.Adam, adamw=torch.optim.AdamW)


def build_detector(recipe, num_classes):
    """The network, and the loss that trains it."""
    levels, own = build_levels(recipe), recipe.conventions
    if recipe.model in SIDES:
        model = SSD(num_classes, SIDES[recipe.model], levels)
        criterion = MultiBoxLoss(force_match=recipe.force_match)
    else:
        model = RetinaNet(
            num_classes, recipe.depth, levels, recipe.channels, recipe.head_convs, recipe.head_norm, own.p6_from,
            own.p7_relu, frozen_norm=recipe.frozen_norm and recipe.weights != "none")
        criterion = FocalLoss(box_loss=recipe.box_loss, force_match=recipe.force_match)
    follow(model, own)
    if recipe.compile:
        criterion.compare = torch.compile(criterion.compare, dynamic=False)
    for stage in model.base.stages()[:recipe.freeze if recipe.weights != "none" else 0]:
        stage.requires_grad_(False)
    return model, criterion


def build_levels(recipe):
    """The detector's priors, of the recipe's shapes, placed as its conventions say."""
    if recipe.model in SIDES:
        levels = ssd_levels(SIDES[recipe.model], recipe.prior_sizes, recipe.prior_ratios)
    else:
        levels = retinanet_levels(recipe.prior_sizes, recipe.prior_scales, recipe.prior_ratios)
    return tuple(placed(level, recipe.conventions) for level in levels)


def build_dataset(recipe, split, names=None):
    """A split of the recipe's dataset, augmented if it is train. names: its classes, in the detector's order."""
    classes, records = read(recipe, split, names or recipe.classes or None)
    if records.problems and not recipe.skip_bad:
        more = f" (and {len(records.problems) - 1} problems more)" if len(records.problems) > 1 else ""
        raise UserError(f"{records.problems[0]}{more}: python -m tools.check lists all; --skip-bad goes on without them")
    if recipe.skip_bad:
        unreadable, _ = examine(records)
        records = records.subset([i for i in range(len(records)) if i not in unreadable])
        print(f"left out of {split}: {len(unreadable) + len(records.problems)} that cannot be read")
    if not len(records):
        raise UserError(f"no images in the {split} split of {recipe.annotations or folder_of(recipe)}")
    return Dataset(classes, records, build_transform(recipe, train=split == "train"), recipe.seed)


def read(recipe, split, names):
    """What the recipe's reader finds: in single files where it names them, else in the folder -> classes, records."""
    if not recipe.annotations:
        return READERS[recipe.dataset](folder_of(recipe), split, names)
    annotations = split == "val" and recipe.val_annotations or recipe.annotations
    part = None if recipe.val_annotations else split
    if recipe.dataset == "csv":
        names = names or (csv_file.read_classes(recipe.class_list) if recipe.class_list else None)
        return csv_file.read_files(annotations, names, part)
    images = split == "val" and recipe.val_images or recipe.images
    return coco.read_files(images or Path(annotations).parent, annotations, names, part)


def folder_of(recipe):
    return Path(recipe.root or f"data/{recipe.dataset}")


def build_transform(recipe, train=False):
    """What the detector's images go through, from the file to the batch."""
    augmented, own = train and recipe.augment, recipe.conventions
    if recipe.model in SIDES:
        size = (SIDES[recipe.model],) * 2
        return SSDAugmentation(size, pixel_mean(recipe)) if augmented else Stretch(size, own.resize)
    if augmented:
        return RetinaNetAugmentation(recipe.jitter or recipe.resize, recipe.max_size)
    return Resize(recipe.resize, recipe.max_size, own.resize, own.floor)


def build_collate(recipe):
    """How its images become one tensor: SSD's are of one size, RetinaNet's are padded to what its strides divide."""
    own = recipe.conventions
    if recipe.model in SIDES:
        return Collate(pixel_mean(recipe), exact=own.exact)
    sizes = few_sizes(recipe) if recipe.compile else ()
    return Collate(pixel_mean(recipe), own.multiple, own.border, own.exact, sizes)


def few_sizes(recipe, lengths=3):
    """The (height, width) that compiled batches are padded to: as high as the largest, and some lengths."""
    short, long = (-(-side // 32) * 32 for side in (max((recipe.resize, *recipe.jitter)), recipe.max_size))
    longs = sorted({short + -(-(long - short) * i // (32 * lengths)) * 32 for i in range(lengths + 1)})
    return [(short, side) for side in longs] + [(side, short) for side in longs[1:]]


def pixel_mean(recipe):
    return recipe.conventions.mean or (SSD_MEAN if recipe.model in SIDES else IMAGENET_MEAN)


def build_loader(dataset, batches, recipe, device):
    """The batches as tensors, loaded by no more processes than there are cores."""
    return DataLoader(
        dataset, batch_sampler=batches, collate_fn=build_collate(recipe), pin_memory=device.type == "cuda",
        num_workers=min(recipe.workers, os.cpu_count() or 1), worker_init_fn=leave_signals_to_parent)


def build_optimizer(recipe, model):
    """Weights decay; biases and the values of normalisation layers, being single numbers, do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [dict(params=[one for one in parameters if one.ndim > 1], weight_decay=recipe.weight_decay),
              dict(params=[one for one in parameters if one.ndim <= 1], weight_decay=0.0)]
    own = dict(momentum=recipe.momentum) if recipe.optimizer == "sgd" else {}
    return OPTIMIZERS[recipe.optimizer](groups, recipe.lr, fused=True, **own)
