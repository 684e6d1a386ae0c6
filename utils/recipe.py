"""Recipe: every option of a run, defined once with its help text and its limits."""

import operator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import UnionType
from typing import get_args, get_origin

import retinanet
from data.reading import DATASETS
from data.text import UserError
from layers.resnet import DEPTHS
from utils.build import MODELS, OPTIMIZERS, wrong_tuples
from utils.evaluation.metrics import METRICS
from utils.parallel import PRECISIONS

Box = tuple[float, float, float, float]
MAX_WIDTH = 256  # of a base: four times that of the papers
MAX_NUMBER = 1e12  # in a tuple, much more than any run has
# The kinds of limits that a number may have, and how it must compare with them.
LIMITS = dict(over=operator.gt, at_least=operator.ge, below=operator.lt, at_most=operator.le)


def option(
    default, help, flag=True, aliases=(), metavar=None, const=None, only=None,
    choices=(), over=None, at_least=0, below=None, at_most=1 << 60,
):  # fmt: skip
    """A field of Recipe, with all that its flag, --help, its check and the report need to know.

    flag: whether it has a flag; aliases, metavar, const: the flag's, as in argparse.
    only: the detector, optimizer or other thing that it is for, see options.has_effect.
    choices: the values that it may have. over, at_least, below, at_most: the limits of a number.
    """
    facts = dict(
        help=help, flag=flag, aliases=aliases, metavar=metavar, const=const, only=only,
        choices=choices, over=over, at_least=at_least, below=below, at_most=at_most,
    )  # fmt: skip
    return field(default=default, metadata=facts)


# An option without a flag: only a recipe file sets it.
setting = partial(option, flag=False)


@dataclass(frozen=True)
class Recipe:
    """Plain values only: a checkpoint carries its recipe with it.

    The defaults are RetinaNet's on COCO. The first option of each group of --help is named in
    utils/options.py. Very large limits only keep a malicious file from filling the memory.
    """

    # The network: a base that was made to classify images, and what turns it into a detector.
    model: str = option("retinanet", "the detector (default: retinanet)", choices=MODELS)
    depth: int = option(50, "layers of the ResNet", choices=DEPTHS, only="RetinaNet")
    base_width: int = option(64, "channels of the first layer", at_least=1, at_most=MAX_WIDTH)
    finest_stride: int = option(
        8, "4 adds a finer level, for small objects", choices=retinanet.STRIDES, only="RetinaNet"
    )
    channels: int = setting(
        256, "channels of the pyramid and the heads", at_least=1, at_most=1 << 13, only="RetinaNet"
    )
    head_convs: int = setting(
        4, "convolutions in each head before the one that predicts", at_most=64, only="RetinaNet"
    )
    head_norm: str = setting(
        "none", "GroupNorm after each of them, or none", choices=("none", "group"), only="RetinaNet"
    )
    vgg_norm: str = setting(
        "none", "batch norm in the VGG, even if new", choices=("none", "batch"), only="SSD"
    )
    # The priors, the boxes that it starts from; where sizes, scales or ratios are empty, they are
    # those of the paper.
    prior_sizes: tuple[float, ...] = setting((), "in pixels, from the finest level to the coarsest")
    prior_scales: tuple[float, ...] = setting((), "factors on every size", only="RetinaNet")
    prior_ratios: tuple[float, ...] | tuple[tuple[float, ...], ...] = setting(
        (), "width / height; for SSD, a tuple of them for each level"
    )
    base_priors: tuple[tuple[Box, ...], ...] = setting((), "boxes (xyxy) of each level, if given")
    fit_priors: bool = option(False, "choose sizes and ratios of the priors to fit the objects")
    # The weights before training, and which of them stay as they are.
    weights: str = option(
        "imagenet", "imagenet, imagenet_v2, coco, none (random), or a file", aliases=["--fine-tune"]
    )
    only_base: bool = option(False, "load only the base of a detector", only="loaded weights")
    frozen_norm: bool = setting(True, "keep the ResNet's batch norm as loaded", only="RetinaNet")
    frozen_stages: int = option(
        0, "first stages of the base with fixed weights", at_most=6, only="loaded weights"
    )
    prior_probability: float = option(
        0.01, "score of every prior before training", over=0, below=1, only="RetinaNet"
    )
    # What the program that trained the weights did otherwise than ours: with priors, as told in
    # layers/priors.py, in the network, and with images, in data/transforms.py and data/dataset.py.
    fitted_stride: bool = setting(False, "cells lie the image's side // their number apart")
    prior_clamp: str = setting("", "limits priors to the image", choices=("", "sizes", "centres"))
    pixel_mean: tuple[float, ...] = setting((), "of red, green, blue; the network's own if empty")
    norm_epsilon: float = setting(1e-5, "of batch norm", at_least=1e-38, at_most=1)
    p6_from: str = setting("c5", "what P6 is made from", choices=("c5", "p5"), only="RetinaNet")
    p7_relu: bool = setting(True, "ReLU before P7", only="RetinaNet")
    resize_method: str = setting("bytes", "of images", choices=("bytes", "whole", "float", "pil"))
    floor_sizes: bool = setting(False, "round resized sides down", only="RetinaNet")
    exact_colour: bool = setting(False, "pad with the exact mean, not with its nearest bytes")
    size_divisor: int = setting(
        32, "divisor of padded sides", at_least=1, at_most=1024, only="RetinaNet"
    )
    min_padding: int = setting(0, "pixels", at_most=1024, only="RetinaNet")
    clip_boxes: str = setting("image", "before NMS", choices=("image", "input", "nothing"))

    # Where the images and their boxes are.
    dataset: str = option(
        "coco",
        f"its format: {', '.join(DATASETS)} (default: auto with --root, else shapes)",
        choices=DATASETS,
        metavar="NAME",
    )
    root: str = option(
        "", "its folder (default: data/<dataset>)", aliases=["--dataset-root", "--coco-path"]
    )
    images: str = option("", "folder of the images that --annotations names")
    annotations: str = option("", "a COCO or csv file, in place of --root", aliases=["--csv-train"])
    val_images: str = option("", "like --images, for validation")
    val_annotations: str = option("", "like --annotations, for validation", aliases=["--csv-val"])
    class_list: str = option("", "a csv file of class,id", aliases=["--csv-classes"])
    classes: tuple[str, ...] = option((), "detect only these (default: all)", metavar="NAME")
    val_share: float = option(0.2, "share held out if there is no val split; 0: none", below=1)
    skip_bad: bool = option(False, "leave out images and objects that cannot be read")
    # The size of the images, and the metric.
    resize: int = option(
        800, "pixels of the short side", at_least=1, at_most=1 << 14, only="RetinaNet"
    )
    max_size: int = option(
        1333, "pixels of the long side, at most", at_least=1, at_most=1 << 14, only="RetinaNet"
    )
    metric: str = option("coco", "coco, voc07 (eleven points) or voc12 (area)", choices=METRICS)

    # What a batch holds; images are changed at random while training.
    jitter: tuple[int, ...] = option(
        (), "range of the short side while training", metavar=("MIN", "MAX"), only="RetinaNet"
    )
    augment: bool = option(True, "mirror images, and for SSD expand, crop and distort them")
    batch: int = option(
        16, "images per batch on all devices", aliases=["--batch-size"], at_least=1, at_most=1 << 16
    )
    accumulate: int = option(1, "parts into which a batch is cut, to save memory", at_least=1)
    # How many steps, and how large they are.
    iterations: int = option(90_000, "steps of the optimizer", aliases=["--iters"])
    epochs: int = option(0, "passes over the images, in place of iterations")
    optimizer: str = option("sgd", "sgd, adam or adamw", choices=OPTIMIZERS)
    lr: float = option(
        0.01, "learning rate (default: in proportion to the batch)", aliases=["--learning-rate"]
    )
    base_lr: float = option(1.0, "factor on lr in the base", only="loaded weights")
    momentum: float = option(
        0.9, "momentum: share of the last step that is repeated", below=1, only="sgd"
    )
    weight_decay: float = option(1e-4, "decay of the weights; biases and norms have none")
    max_grad_norm: float = option(10.0, "clip gradients to this norm", over=0, at_most=None)
    ema: float = option(
        0.0, "decay of an average of the weights that is evaluated and kept; 0: none", below=1
    )
    patience: int = option(0, "stop after N evaluations without a better result; 0: never")
    # The learning rate over time: drops at milestones, half a cosine down to 0, or drops when the
    # loss no longer falls (plateau).
    warmup: int = option(1000, "iterations over which lr rises from 0")
    lr_schedule: str = setting(
        "milestones", "how lr falls", choices=("milestones", "cosine", "plateau")
    )
    milestones: tuple[int, ...] = option(
        (60_000, 80_000),
        "iterations after which lr is multiplied by gamma, in place of the recipe's schedule",
        only="milestones schedule",
    )
    milestone_epochs: tuple[int, ...] = setting(
        (), "the same in epochs, where epochs are given", only="milestones schedule"
    )
    plateau_patience: int = setting(
        3, "epochs without a lower loss, after which lr drops", only="plateau schedule"
    )
    gamma: float = option(0.1, "factor on lr at every drop")
    # The program.
    seed: int = option(0, "seed of all random numbers")
    compile: bool = option(False, "compile network and loss, which takes minutes")

    # Which priors learn which objects, and how much their errors count.
    positive_iou: float = option(0.5, "a prior is matched if its IoU is at least this", at_most=1)
    negative_iou: float = option(0.4, "below this IoU, a prior is background; in between, ignored")
    force_match: bool = setting(True, "every object keeps its best prior, however small their IoU")
    box_loss: str = option(
        "smooth_l1", "loss of the boxes", choices=("smooth_l1", "giou"), only="RetinaNet"
    )
    box_weight: float = option(1.0, "weight of the box loss beside the class loss")
    focal_alpha: float = option(
        0.25, "weight of objects; background has 1 - alpha", at_most=1, only="RetinaNet"
    )
    focal_gamma: float = option(
        2.0, "the larger, the less weight easy priors have; 0: cross entropy", only="RetinaNet"
    )
    negatives_per_positive: int = option(3, "hard negatives for each positive prior", only="SSD")

    # Which predictions become detections.
    score_threshold: float = setting(0.05, "detections have a larger score")
    nms_iou: float = setting(0.5, "largest IoU of two detections of one class")
    pre_nms_topk: int = setting(1000, "how many of the best scores go on to NMS", at_least=1)
    topk_per: str = setting(
        "level", "whether that is per level, or per class as in SSD", choices=("level", "class")
    )
    max_detections: int = setting(100, "per image", at_least=1)

    # What a run tells and what it keeps.
    eval_every: int = option(
        5000, "iterations between evaluations", aliases=["--val-iters"], at_least=1
    )
    save_every: int = option(1000, "iterations between checkpoints", at_least=1)
    log_every: int = option(20, "iterations between lines of the log", at_least=1)
    keep_checkpoints: int = option(0, "keep N periodic checkpoints besides the last and the best")
    visdom: str = option(
        "",
        "visdom server, localhost:8097 if none is named",
        const="localhost:8097",
        metavar="SERVER",
    )
    logdir: str = option("", "folder for TensorBoard's files")

    # The computer.
    workers: int = option(4, "processes that load images", aliases=["--num-workers"])
    cache: bool = option(False, "keep decoded images in memory, 3 bytes a pixel")
    precision: str = option("auto", "auto: bf16 or fp16 where it is fast", choices=PRECISIONS)

    def __or__(self, changes):
        """The same recipe with some fields changed: recipe | dict(batch=8)."""
        known = [field.name for field in fields(self)]
        unknown = [name for name in changes if name not in known]
        if unknown:
            raise TypeError(f"a recipe has no {unknown[0]!r}; it has {', '.join(known)}")
        return replace(self, **changes)


def checked(recipe, origin=""):
    """The recipe, if its values make sense. origin: the file that they come from, if any."""
    for option in fields(Recipe):
        check_value(option, getattr(recipe, option.name), origin)
    # An option that does not fit the others -> what is wrong with it.
    problems = wrong_tuples(recipe)
    if recipe.negative_iou > recipe.positive_iou:
        problems["negative_iou"] = f"must be at most positive_iou, which is {recipe.positive_iou}"
    jitter = recipe.jitter
    if jitter and not (len(jitter) == 2 and 0 < jitter[0] <= jitter[1] <= 1 << 14):
        problems["jitter"] = "must be two numbers over 0, the smaller one first"
    if max(recipe.pixel_mean, default=0) > 255:
        problems["pixel_mean"] = "must be at most 255"
    if recipe.head_norm == "group" and recipe.channels % 32:
        problems["channels"] = "must be 32, 64, 96, ..."
    if problems:
        name, problem = next(iter(problems.items()))
        raise UserError(f"{label(name, origin)} {str(getattr(recipe, name))[:60]}: {problem}")
    if recipe.batch % recipe.accumulate:
        raise UserError(
            f"--batch {recipe.batch} is no multiple of --accumulate {recipe.accumulate}"
        )
    return recipe


def label(name, origin=""):
    """An option as the user wrote it: a flag, or a word in a recipe file."""
    return f"{origin}: {name}" if origin else "--" + name.replace("_", "-")


def check_value(option, value, origin):
    """An error if a value has another type than its option, or is beyond its limits."""
    facts = option.metadata
    if not has_type(value, option.type):
        shown = str(value)[:60]
        raise UserError(f"{label(option.name, origin)} {shown!r}: of the wrong type")
    if facts["choices"] and value not in facts["choices"]:
        choices = ", ".join(map(str, facts["choices"]))
        raise UserError(f"{label(option.name, origin)} {repr(value)[:60]}: choose {choices}")
    if option.type not in (int, float):
        return
    for limit, holds in LIMITS.items():
        # Nothing holds of NaN, so it is refused.
        if facts[limit] is not None and not holds(value, facts[limit]):
            rule = f"{limit.replace('_', ' ')} {facts[limit]}"
            raise UserError(f"{label(option.name, origin)} {value}: must be {rule}")


def has_type(value, kind):
    """Whether a value has a field's type; an integer is a float as well, and a list a tuple."""
    kinds = get_args(kind)
    if get_origin(kind) is UnionType:
        return any(has_type(value, choice) for choice in kinds)
    if get_origin(kind) is not tuple:
        return type(value) in ((int, float) if kind is float else (kind,))
    if not isinstance(value, (tuple, list)) or kind == Box and len(value) != 4:
        return False
    if kinds[0] not in (int, float):
        return all(has_type(item, kinds[0]) for item in value)
    # In a tuple, floats are over 0 and integers at least 0; only corners of a box may be negative.
    over = -MAX_NUMBER if kind == Box else -1 if kinds[0] is int else 0
    return all(type(item) in (int, float) and over < item < MAX_NUMBER for item in value)
