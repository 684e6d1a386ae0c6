"""What a recipe's words and numbers may be, wherever they come from."""

from dataclasses import fields

import retinanet
import ssd
from data.dataset import DATASETS
from data.errors import UserError
from layers.resnet import DEPTHS
from utils.build import MODELS, OPTIMIZERS, SSD_SIDES
from utils.evaluation.metrics import METRICS
from utils.parallel import PRECISIONS

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
