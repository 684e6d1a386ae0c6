"""Recipe: everything that decides how a run ends, and what its words and numbers may be."""

from dataclasses import dataclass, fields, replace

import retinanet
import ssd
from data.dataset import DATASETS
from data.errors import UserError
from layers.resnet import DEPTHS
from utils.build import MODELS, OPTIMIZERS, SSD_SIDES
from utils.conventions import Conventions
from utils.evaluation.metrics import METRICS
from utils.parallel import PRECISIONS


@dataclass(frozen=True)
class Recipe:
    """Plain values only: a checkpoint carries its recipe with it."""

    # The detector.
    model: str = "retinanet"  # retinanet, ssd300 or ssd512
    depth: int = 50  # of RetinaNet's ResNet
    finest_stride: int = 8  # of RetinaNet's levels, in pixels; or 4, for small objects
    channels: int = 256  # of RetinaNet's pyramid and heads
    head_convs: int = 4  # of RetinaNet's heads, before the one that predicts
    head_norm: str = "none"  # or group: GroupNorm after each of them
    vgg_norm: str = "none"  # or batch: batch norm in SSD's VGG, for random weights
    prior_sizes: tuple = ()  # pixels, of each level; the paper's where empty, as with the next two
    prior_scales: tuple = ()  # RetinaNet's, times the size
    prior_ratios: tuple = ()  # width / height; SSD has a tuple of them for each level
    base_priors: tuple = ()  # of each level, xyxy; they take the place of sizes, scales and ratios
    fit_priors: bool = False  # sizes and ratios by the data's objects, before training
    prior_probability: float = 0.01  # of an object, for RetinaNet's priors before training
    frozen_norm: bool = True  # the ResNet's batch norm as loaded; with random weights never
    conventions: Conventions = Conventions()  # of a published detector that it started from
    weights: str = "imagenet"  # what it starts from: imagenet, imagenet_v2, coco, none, or a file
    # What it sees.
    dataset: str = "coco"
    root: str = ""  # the dataset's folder; data/<dataset> where empty
    images: str = ""  # a folder of images, with annotations a file, instead of root
    annotations: str = ""
    val_images: str = ""
    val_annotations: str = ""
    class_list: str = ""  # a csv of class,id, where the dataset is a csv
    classes: tuple = ()  # names, to keep only these; all where empty
    val_share: float = 0.2  # of the images, held out where there is no val; 0: validate on none
    skip_bad: bool = False  # leave out what cannot be read, instead of refusing to train
    resize: int = 800  # pixels of RetinaNet's short side
    jitter: tuple = ()  # smallest and largest short side while training; resize where empty
    scale_jitter: tuple = ()  # while training, the picture's smallest and largest enlargement
    max_size: int = 1333  # pixels of the long side, at most
    augment: bool = True  # mirrored, and for SSD expanded, cropped, distorted; else only resized
    # How it learns.
    batch: int = 16  # images per iteration, of all devices together
    iterations: int = 90_000  # steps of the optimizer
    epochs: int = 0  # instead of iterations, where not 0
    optimizer: str = "sgd"  # sgd, adam or adamw
    lr: float = 0.01  # the learning rate after warm-up
    momentum: float = 0.9
    weight_decay: float = 1e-4  # of weights; biases and norms do not decay, unlike the papers
    schedule: str = "milestones"  # or cosine: down to 0; or plateau: times gamma when loss stalls
    milestones: tuple = (60_000, 80_000)  # iterations at which lr is multiplied by gamma
    milestone_epochs: tuple = ()  # instead of milestones, where epochs are given
    plateau_patience: int = 3  # epochs without a lower loss before plateau multiplies
    gamma: float = 0.1
    warmup: int = 1000  # iterations
    max_grad_norm: float = 10.0  # gradients are clipped to this norm
    accumulate: int = 1  # micro-batches that a batch goes through the network in
    frozen_stages: int = 0  # of the base, from the pixels up; of random weights none
    ema: float = 0.0  # decay of an average of the weights, which is evaluated and kept; 0: none
    # Matching and losses.
    positive_iou: float = 0.5  # from this on, a prior is matched to an object
    negative_iou: float = 0.4  # below this, it is background; between the two, ignored
    force_match: bool = True  # every object keeps its best prior, however poor
    box_loss: str = "smooth_l1"  # RetinaNet's; or giou
    box_weight: float = 1.0  # of the box loss, beside the class loss
    focal_alpha: float = 0.25  # weight of the objects' class loss; 1 - alpha is the background's
    focal_gamma: float = 2.0  # how strongly easy priors are turned down; 0: not at all
    negatives_per_positive: int = 3  # SSD's hard negatives
    # Detections.
    metric: str = "coco"  # coco, voc07 (eleven points) or voc12 (area)
    score_threshold: float = 0.05
    nms_iou: float = 0.5  # of two detections of one class
    pre_nms_topk: int = 1000  # scores that go through NMS,
    topk_per: str = "level"  # of each level; or of each class, as in SSD
    max_detections: int = 100  # per image
    # The run.
    eval_every: int = 5000  # iterations, as the next two
    save_every: int = 1000
    log_every: int = 20
    patience: int = 0  # evaluations without a better result, then it stops; 0: never
    keep_checkpoints: int = 0  # periodic ones, beside the last and the best
    visdom: str = ""  # a server's host:port
    logdir: str = ""  # TensorBoard's folder
    workers: int = 4  # processes that load images
    seed: int = 0
    precision: str = "auto"  # the hardware's half precision; or bf16, fp16, float32
    compile: bool = False  # network and loss, for few sizes of images, to which batches are padded

    def __or__(self, changes):
        """The same recipe with some fields changed: recipe | dict(batch=8)."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"a recipe has no {name!r}; it has {', '.join(known)}")
        return replace(self, **changes)


# The smallest values that make sense, and those that must be over 0.
AT_LEAST = dict(
    batch=1, accumulate=1, resize=1, max_size=1, eval_every=1, save_every=1, log_every=1,
    iterations=0, epochs=0, workers=0, warmup=0, patience=0, keep_checkpoints=0, frozen_stages=0,
    lr=0, weight_decay=0, momentum=0, gamma=0, ema=0, val_share=0, channels=1, head_convs=0,
    focal_gamma=0, focal_alpha=0, negatives_per_positive=0, negative_iou=0, positive_iou=0,
    box_weight=0,
    score_threshold=0, nms_iou=0, pre_nms_topk=1, max_detections=1, plateau_patience=0,
)  # fmt: skip
BELOW = dict(
    val_share=1, ema=1, prior_probability=1, focal_alpha=1.000001, positive_iou=1.000001, momentum=1
)
# Far beyond any training; a hostile file that asks for more would fill the memory.
AT_MOST = dict(channels=1 << 13, head_convs=64, resize=1 << 14, max_size=1 << 14, batch=1 << 16)
CHOICES = dict(
    model=MODELS,
    depth=DEPTHS,
    finest_stride=retinanet.FINEST_STRIDES,
    dataset=DATASETS,
    head_norm=("none", "group"),
    vgg_norm=("none", "batch"),
    optimizer=tuple(OPTIMIZERS),
    schedule=("milestones", "cosine", "plateau"),
    box_loss=("smooth_l1", "giou"),
    metric=METRICS,
    topk_per=("level", "class"),
    precision=PRECISIONS,
)


def checked(recipe, origin=""):
    """The recipe, if its words and numbers can be trained with."""
    prefix = f"{origin}: " if origin else "--"
    check_types(recipe, prefix)
    for name, choices in CHOICES.items():
        if getattr(recipe, name) not in choices:
            options = ", ".join(map(str, choices))
            raise UserError(f"{label(prefix, name)} {getattr(recipe, name)!r}: choose {options}")
    for name, smallest in AT_LEAST.items():
        value = getattr(recipe, name)
        if not isinstance(value, (int, float)) or not value >= smallest:
            raise UserError(f"{label(prefix, name)} {value}: must be at least {smallest}")
    for name, largest in AT_MOST.items():
        if getattr(recipe, name) > largest:
            raise UserError(
                f"{label(prefix, name)} {getattr(recipe, name)}: must be at most {largest}"
            )
    for name, limit in BELOW.items():
        if not getattr(recipe, name) < limit:
            raise UserError(
                f"{label(prefix, name)} {getattr(recipe, name)}: must be below {limit:g}"
            )
    for name in ("max_grad_norm", "prior_probability"):
        value = getattr(recipe, name)
        if not isinstance(value, (int, float)) or not value > 0:
            raise UserError(f"{label(prefix, name)} {value}: must be over 0")
    if recipe.negative_iou > recipe.positive_iou:
        raise UserError(
            f"{label(prefix, 'negative_iou')} {recipe.negative_iou}: must not be over the positive "
            f"one, {recipe.positive_iou}"
        )
    check_priors(recipe, prefix)
    for name in ("jitter", "scale_jitter"):
        check_range(label(prefix, name), getattr(recipe, name))
    if recipe.batch % recipe.accumulate:
        raise UserError(
            f"--batch {recipe.batch} cannot be cut into --accumulate {recipe.accumulate} "
            "equal parts"
        )
    return recipe


def check_range(name, values):
    """An error where two numbers are no (smallest, largest) over 0; none are no error."""
    if values and not (len(values) == 2 and 0 < values[0] <= values[1]):
        raise UserError(f"{name} {values}: must be two numbers over 0, the smaller one first")


def check_types(recipe, prefix):
    """An error where a field is of another type than its default: a number, a text, a tuple."""
    for field in fields(recipe):
        value, kind = getattr(recipe, field.name), type(field.default)
        kinds = (int, float) if kind is float else (tuple, list) if kind is tuple else kind
        fits = isinstance(value, kinds)
        if fits and kind is tuple and field.name != "classes":
            fits = all(isinstance(item, (int, float)) for item in flat(value))
        if not fits:
            raise UserError(f"{label(prefix, field.name)} {str(value)[:60]!r}: of a wrong type")


def flat(value):
    """The items of nested tuples."""
    for item in value:
        if isinstance(item, (tuple, list)):
            yield from flat(item)
        else:
            yield item


def check_priors(recipe, prefix):
    """An error where sizes or ratios do not fit the detector's levels."""
    side = SSD_SIDES.get(recipe.model)
    strides = ssd.STRIDES[side] if side else retinanet.level_strides(recipe.finest_stride)
    levels = len(strides)
    sizes, ratios = recipe.prior_sizes, recipe.prior_ratios
    wanted = levels + 1 if side else levels
    if sizes and len(sizes) != wanted:
        raise UserError(
            f"{label(prefix, 'prior_sizes')} {sizes}: {recipe.model} needs {wanted} of them"
        )
    if recipe.base_priors and len(recipe.base_priors) != levels:
        count = len(recipe.base_priors)
        raise UserError(
            f"{label(prefix, 'base_priors')} of {count} levels: {recipe.model} has {levels}"
        )
    nested = [isinstance(ratio, (tuple, list)) for ratio in ratios]
    if ratios and (side and (len(ratios) != levels or not all(nested)) or not side and any(nested)):
        shape = f"a tuple of ratios for each of {levels} levels" if side else "numbers"
        raise UserError(f"{label(prefix, 'prior_ratios')} {ratios}: {recipe.model} needs {shape}")


def label(prefix, name):
    """A field as the user wrote it: a flag, or a word in a recipe file."""
    return prefix + (name.replace("_", "-") if prefix == "--" else name)
