"""Build the objects that a recipe describes."""

import math
import os
from functools import partial

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

import retinanet
import ssd
from data.dataset import Dataset, TrainBatches, collate
from data.reading import read_eval_records
from data.summary import summary
from data.text import counted
from data.transforms import Resize, RetinaNetAugmentation, SSDAugmentation, Stretch
from layers.losses import FocalLoss, MultiBoxLoss
from layers.priors import Level
from utils import parallel
from utils.stop import LOADER_CHECK, leave_signals_to_parent

# SSD's name tells the side of the images that it takes.
SSD_SIDES = {"ssd300": 300, "ssd512": 512}
MODELS = ("retinanet", *SSD_SIDES)
OPTIMIZERS = dict(sgd=torch.optim.SGD, adam=torch.optim.Adam, adamw=torch.optim.AdamW)


def build_detector(recipe, num_classes):
    """The network, and the loss that trains it."""
    levels = build_levels(recipe)
    options = dict(
        positive_iou=recipe.positive_iou,
        negative_iou=recipe.negative_iou,
        force_match=recipe.force_match,
        box_weight=recipe.box_weight,
    )
    if recipe.model in SSD_SIDES:
        model = ssd.SSD(
            num_classes,
            side=SSD_SIDES[recipe.model],
            levels=levels,
            norm=recipe.vgg_norm,
            base_width=recipe.base_width,
        )
        criterion = MultiBoxLoss(**options, negatives_per_positive=recipe.negatives_per_positive)
    else:
        model = retinanet.RetinaNet(
            num_classes,
            depth=recipe.depth,
            levels=levels,
            base_width=recipe.base_width,
            channels=recipe.channels,
            head_convs=recipe.head_convs,
            norm=recipe.head_norm,
            p6_from=recipe.p6_from,
            p7_relu=recipe.p7_relu,
            prior_probability=recipe.prior_probability,
        )
        criterion = FocalLoss(
            **options,
            alpha=recipe.focal_alpha,
            gamma=recipe.focal_gamma,
            box_loss=recipe.box_loss,
        )
    if recipe.pixel_mean:
        model.mean = torch.tensor(recipe.pixel_mean).view(3, 1, 1)
    for norm in model.base.norms():
        norm.eps = recipe.norm_epsilon
    if recipe.compile:
        criterion.compare = torch.compile(criterion.compare, dynamic=False)
    return model, criterion


def build_levels(recipe):
    """The detector's priors: those that the recipe lists, or of the shapes it names."""
    sizes, scales, ratios = recipe.prior_sizes, recipe.prior_scales, recipe.prior_ratios
    side = SSD_SIDES.get(recipe.model)
    if recipe.base_priors:
        strides = ssd.STRIDES[side] if side else retinanet.STRIDES[recipe.finest_stride]
        levels = [Level(stride, boxes) for stride, boxes in zip(strides, recipe.base_priors)]
    elif side:
        levels = ssd.prior_levels(side, sizes, ratios)
    else:
        levels = retinanet.prior_levels(sizes, scales, ratios, recipe.finest_stride)
    rules = dict(fitted_stride=recipe.fitted_stride, clamp=recipe.prior_clamp)
    return tuple(level._replace(**rules) for level in levels)


def wrong_tuples(recipe):
    """The tuples in a recipe that do not fit its detector: name -> what it needs."""
    side = SSD_SIDES.get(recipe.model)
    num_levels = len(ssd.STRIDES[side] if side else retinanet.STRIDES[recipe.finest_stride])
    needed = {}
    if any(isinstance(ratio, (tuple, list)) != bool(side) for ratio in recipe.prior_ratios):
        nested = f"a tuple of ratios for each of {num_levels} levels"
        needed["prior_ratios"] = nested if side else "numbers"
    lengths = dict(prior_sizes=num_levels, base_priors=num_levels, pixel_mean=3)
    if side:
        lengths |= dict(prior_sizes=num_levels + 1, prior_ratios=num_levels)
    for name, length in lengths.items():
        if len(getattr(recipe, name)) not in (0, length):
            needed.setdefault(name, f"{length} of them")
    return {name: f"{recipe.model} needs {words}" for name, words in needed.items()}


def with_sides(recipe, changes):
    """The changes to a recipe, with those that follow from a new resize: unless they are changed as
    well, jitter and max_size are scaled with it."""
    if "resize" not in changes:
        return changes
    scale = changes["resize"] / recipe.resize
    jitter = tuple(round(side * scale) for side in recipe.jitter)
    return dict(jitter=jitter, max_size=round(recipe.max_size * scale)) | changes


def build_transform(recipe, augment=False, passes=math.inf):
    """The transform of the detector's images. The more passes over the images a run makes, the
    stronger is SSD's augmentation."""
    if recipe.model in SSD_SIDES:
        size = (SSD_SIDES[recipe.model],) * 2
        if augment:
            return SSDAugmentation(size, padding_colour(recipe), passes)
        return Stretch(size, recipe.resize_method)
    if augment:
        return RetinaNetAugmentation(recipe.jitter or recipe.resize, recipe.max_size)
    return Resize(recipe.resize, recipe.max_size, recipe.resize_method, recipe.floor_sizes)


def make_datasets(recipe, classes, train_records, val_records):
    """The training Dataset, and the validation Dataset, never augmented, or None."""
    passes = recipe.iterations * recipe.batch / len(train_records)
    train_transform = build_transform(recipe, recipe.augment, passes)
    train_dataset = Dataset(classes, train_records, train_transform, recipe.seed)
    if recipe.cache:
        train_dataset.keep_images()
    val_dataset = None
    if val_records is not None:
        val_dataset = Dataset(classes, val_records, build_transform(recipe), recipe.seed)
    return train_dataset, val_dataset


def eval_dataset(recipe, split, classes):
    """One split of a dataset for the evaluation of a detector with these classes: never
    augmented."""
    records = read_eval_records(recipe, split, classes)
    return Dataset(classes, records, build_transform(recipe), recipe.seed)


def describe_datasets(recipe, train_dataset, val_dataset):
    """Yield lines about both datasets, what the priors reach, and the length of the run."""
    yield "\ntrain"
    yield from summary(train_dataset, build_levels(recipe))
    if val_dataset is not None:
        objects = (~val_dataset.records.ignore).sum()
        images = counted(len(val_dataset), "image")
        yield f"\nval\n{images}, {counted(objects, 'object')}"
        yield from val_dataset.records.notes
    passes = recipe.iterations * recipe.batch / len(train_dataset)
    shown = f"{passes:.1f}" if passes < 10 else f"{passes:.0f}"
    yield (
        f"\n{recipe.iterations} iterations of {recipe.batch} images are {shown} passes over the "
        "training images"
    )
    transform = train_dataset.transform
    if isinstance(transform, SSDAugmentation) and transform.strength < 1:
        yield (
            "expanding, cropping and distorting are each tried with a probability of "
            f"{transform.strength:.2f}; the more passes, the larger it is"
        )
    # SSD's authors make 232 over VOC.
    if passes > 250:
        yield "advice: more than 250 passes are rarely worth their time; try a smaller --iters"


def build_collate(recipe):
    """How its images become one tensor: SSD's are of one size, RetinaNet's are padded."""
    colour = dict(colour=padding_colour(recipe), exact_colour=recipe.exact_colour)
    if recipe.model in SSD_SIDES:
        return partial(collate, **colour)
    return partial(
        collate,
        **colour,
        size_divisor=recipe.size_divisor,
        min_padding=recipe.min_padding,
        allowed_sizes=sizes_to_compile(recipe) if recipe.compile else (),
    )


def sizes_to_compile(recipe):
    """The (height, width) that compiled batches are padded to, the smaller ones first: the largest
    short side, with some lengths of the long one."""
    short = math.ceil(max((recipe.resize, *recipe.jitter)) / 32)
    longest = math.ceil(recipe.max_size / 32)
    # Few lengths, as compiling for each takes minutes.
    extra = [math.ceil((longest - short) * share) for share in (0, 1 / 3, 2 / 3, 1)]
    longs = sorted({32 * min(short + more, longest) for more in extra})
    short *= 32
    return [(short, side) for side in longs] + [(side, short) for side in longs[1:]]


def padding_colour(recipe):
    """The mean of the pixels that the base was trained on."""
    return recipe.pixel_mean or (ssd.MEAN if recipe.model in SSD_SIDES else retinanet.MEAN)


def build_train_loader(dataset, recipe, device):
    """The sampler that says which images are in a batch, and the loader of its micro-batches."""
    processes = parallel.rank(), parallel.world_size()
    sampler = TrainBatches(dataset, recipe.batch, recipe.accumulate, *processes)
    return sampler, build_loader(dataset, sampler, recipe, device)


def build_loader(dataset, batches, recipe, device):
    """A DataLoader of the batches, with the recipe's number of processes, at most one per core."""
    workers = min(recipe.workers, os.cpu_count() or 1)
    if workers and not has_shared_memory(recipe, workers):
        print(
            f"warning: /dev/shm is too small for {workers} processes that load images, so none is "
            "started; Docker gives more with --shm-size 8g"
        )
        workers = 0
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=build_collate(recipe),
        num_workers=workers,
        timeout=LOADER_CHECK if workers else 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_signals_to_parent,
        generator=torch.Generator(),  # not the global one, whose state a checkpoint keeps
    )


def has_shared_memory(recipe, workers, place="/dev/shm"):
    """Whether the batches that a training loads in advance, two by each process, roughly fit where
    they are kept."""
    side = SSD_SIDES.get(recipe.model)
    pixels = side * side if side else recipe.max_size * max(recipe.resize, *recipe.jitter, 1)
    try:
        status = os.statvfs(place)
    except (OSError, AttributeError):
        return True
    batch_bytes = 3 * pixels * recipe.batch // recipe.accumulate
    return status.f_bavail * status.f_frsize > (2 * workers + 1) * batch_bytes


def build_optimizer(recipe, model):
    """The optimizer of a model's parameters. Weights decay; biases and norms, which have a single
    dimension, do not. train.py multiplies the learning rate of a group by its lr_factor."""
    base_factor = 1.0 if recipe.weights == "none" else recipe.base_lr
    groups = []
    for is_base, factor in ((False, 1.0), (True, base_factor)):
        parameters = [
            parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and name.startswith("base.") == is_base
        ]
        weights = [parameter for parameter in parameters if parameter.ndim > 1]
        others = [parameter for parameter in parameters if parameter.ndim <= 1]
        groups += [
            dict(params=weights, weight_decay=recipe.weight_decay, lr_factor=factor),
            dict(params=others, weight_decay=0.0, lr_factor=factor),
        ]
    momentum = dict(momentum=recipe.momentum) if recipe.optimizer == "sgd" else {}
    optimizer = OPTIMIZERS[recipe.optimizer](groups, recipe.lr, fused=True, **momentum)
    if momentum.get("momentum"):
        # torch makes these buffers in the first step, and leaves them uninitialised if GradScaler
        # skips it.
        for group in groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def build_average(model, decay):
    """A moving average of a model's weights and statistics, in a model of its own: .module."""
    average_fn = get_ema_multi_avg_fn(decay)
    return AveragedModel(model, multi_avg_fn=average_fn, use_buffers=True)
