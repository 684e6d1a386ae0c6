"""What other programs do that weights cannot express: where priors lie, how images are treated."""

import re
from math import sqrt

import retinanet
from data.text import UserError
from ssd import SIZES
from utils.build import SSD_SIDES
from utils.recipes import RECIPES

TORCHVISION_IMAGES = dict(resize_method="float", floor_sizes=True, exact_colour=True)
MMDETECTION_IMAGES = dict(resize_method="whole", exact_colour=True)
ODTK_IMAGES = dict(
    resize_method="pil", floor_sizes=True, exact_colour=True, size_divisor=128, clip_boxes="input"
)
CONVENTIONS = {
    "pytorch-retinanet": dict(
        resize_method="float", exact_colour=True, min_padding=1, clip_boxes="input"
    ),
    "odtk": ODTK_IMAGES,
    "odtk 19.04": ODTK_IMAGES,
    # torchvision has an epsilon of 0, which torch before 2.12 refuses; 1e-30 changes no variance.
    "torchvision v1": dict(
        fitted_stride=True, norm_epsilon=1e-30, p6_from="p5", **TORCHVISION_IMAGES
    ),
    "torchvision v2": dict(fitted_stride=True, **TORCHVISION_IMAGES),
    "torchvision ssd": dict(prior_clamp="sizes", **TORCHVISION_IMAGES),
    "mmdetection": dict(p7_relu=False, **MMDETECTION_IMAGES),
    "mmdetection ssd": dict(pixel_mean=(123.675, 116.28, 103.53), **MMDETECTION_IMAGES),
    "ssd.pytorch": dict(prior_clamp="centres", resize_method="whole", clip_boxes="nothing"),
    "lufficc": dict(prior_clamp="centres", resize_method="whole", clip_boxes="nothing"),
}


def retinanet_priors(family):
    """The priors of a cell on each level, as a family has them; () if they are ours."""
    if family == "pytorch-retinanet":
        return ()
    levels = []
    for stride, size in zip(retinanet.STRIDES[8], retinanet.SIZES[8]):
        # These programs state a ratio as height / width, we as width / height.
        shapes = [(size * s, 1 / ratio) for ratio in retinanet.RATIOS for s in retinanet.SCALES]
        levels.append(tuple(published_prior(family, stride, *shape) for shape in shapes))
    return tuple(levels)


def published_prior(family, stride, size, ratio):
    """One prior of a cell, xyxy in pixels, of a size and a ratio of height to width."""
    if family.startswith("torchvision"):
        # It cuts sizes and rounds corners to whole pixels.
        size = int(size + 1e-6)
    width = size / sqrt(ratio)
    height = size * sqrt(ratio)
    if family == "odtk 19.04":
        # It rounded the sides of a prior of the stride's size, and scaled them.
        side = round(stride / sqrt(ratio))
        width = side * size / stride
        height = round(side * ratio) * size / stride
    corners = [-width / 2, -height / 2, width / 2, height / 2]
    if family.startswith("torchvision"):
        corners = [float(round(corner)) for corner in corners]
    if family.startswith("odtk"):
        # Its priors stand on the centre of their cell, those of others on its corner.
        corners = [corner + stride / 2 for corner in corners]
    if family == "odtk":
        # The last pixel is inside the box.
        corners[2:] = [corner + 1 for corner in corners[2:]]
    return tuple(corners)


def ssd_sizes(model, family, ours):
    """The sizes of an SSD's priors that its program has by default for so many classes."""
    shapes = len(ours["box_heads.0.bias"]) // 4
    num_classes = len(ours["class_heads.0.bias"]) // shapes - 1
    coco = RECIPES[f"{model}_coco"].prior_sizes
    voc = SIZES[SSD_SIDES[model]]
    if family == "torchvision ssd":
        return coco
    if family == "mmdetection ssd":
        return tuple(int(size) for size in (voc if num_classes == 20 else coco))
    # The defaults of lufficc and ssd.pytorch are VOC's, whatever the number of classes.
    return coco if has_coco_classes(family, num_classes) else voc


def has_coco_classes(family, num_classes):
    """Whether it detects COCO's classes: 80, or 200 in ssd.pytorch, which uses the first 80."""
    return num_classes == 80 or (num_classes == 200 and family == "ssd.pytorch")


# The size of the first level in MMDetection's SSDs, in percent of the image's side. It depends on
# that side, and on where basesize_ratio_range begins, in percent.
FIRST_SIZES = {(300, 15): 7, (300, 20): 10, (512, 10): 4, (512, 15): 7}


def mmdetection_sizes(config):
    """The sizes of an SSD's priors in the text of an MMDetection configuration, or ().

    They are listed, or follow from basesize_ratio_range as its SSDAnchorGenerator computes them.
    """
    min_sizes = numbers_in(config, "min_sizes")
    max_sizes = numbers_in(config, "max_sizes")
    if min_sizes and max_sizes:
        return (*min_sizes, max_sizes[-1])
    ratios = numbers_in(config, "basesize_ratio_range")
    sides = numbers_in(config, "input_size")
    if len(ratios) != 2 or not sides:
        return ()
    side = int(sides[0])
    low, high = (int(ratio * 100) for ratio in ratios)
    first = FIRST_SIZES.get((side, low))
    strides = numbers_in(config, "strides")
    if first is None or len(strides) < 3 or high <= low:
        return ()
    step = (high - low) // (len(strides) - 2)
    percents = [first, *range(low, high + 1, step)]
    return tuple(side * percent // 100 for percent in (*percents, percents[-1] + step))


# What a RetinaNet of MMDetection has by default, and has to have here.
RETINA_HEAD = dict(
    octave_base_scale=[4],
    scales_per_octave=[3],
    ratios=[0.5, 1, 2],
    strides=[8, 16, 32, 64, 128],
    target_means=[0, 0, 0, 0],
    target_stds=[1, 1, 1, 1],
)


# odtk's default priors, as its files store them; a file with angles has rotated boxes.
ODTK_PRIORS = dict(ratios=[1, 2, 0.5], scales=[4, 5.04, 6.35], angles=[])


def refuse_other_priors(config):
    """Raise an error if the text of an MMDetection configuration has a RetinaNet whose priors or
    deltas are not the default ones."""
    head = config.partition("RetinaHead")[2]
    for name, default in RETINA_HEAD.items():
        numbers = numbers_in(head, name)
        if numbers not in ([], default):
            raise UserError(f"its RetinaHead has {name} {numbers}, which must be {default} here")


def refuse_other_odtk_priors(content):
    """Raise an error if the content of an odtk file has other priors than odtk's default ones."""
    for name, default in ODTK_PRIORS.items():
        numbers = [round(float(number), 2) for number in content.get(name) or default]
        if numbers != default:
            raise UserError(f"it was trained with {name} {numbers}, which must be {default} here")


def numbers_in(config, name):
    """The numbers that a configuration's text gives to a name where it first has it."""
    found = re.search(rf"\b{name}['\"]?\s*[=:]\s*[\[(]?([\d.,\s]+)", config)
    if not found:
        return []
    # No number in a configuration has more digits.
    return [float(number) for number in re.findall(r"\d{1,9}\.?\d{0,9}|\.\d{1,9}", found[1])]
