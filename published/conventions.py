"""What other programs do that weights cannot express: their priors, and their treatment of
images."""

import re
from math import sqrt

import retinanet
from ssd import SIZES
from utils.build import SSD_SIDES, Conventions
from utils.recipes import RECIPES

TORCHVISION = dict(resize="float", floor_sizes=True, exact_colour=True)
MMDETECTION = dict(resize="whole", exact_colour=True)
ODTK = dict(resize="pil", floor_sizes=True, exact_colour=True, size_divisor=128, clip_boxes="input")
CONVENTIONS = {
    "pytorch-retinanet": Conventions(
        resize="float", exact_colour=True, min_padding=1, clip_boxes="input"
    ),
    "odtk": Conventions(**ODTK),
    "odtk 19.04": Conventions(**ODTK),
    # torchvision has 0. No variance changes by as little as this, and torch before 2.12 refuses 0.
    "torchvision v1": Conventions(
        fitted_stride=True, norm_epsilon=1e-30, p6_from="p5", **TORCHVISION
    ),
    "torchvision v2": Conventions(fitted_stride=True, **TORCHVISION),
    "torchvision ssd": Conventions(clamp="sizes", **TORCHVISION),
    "mmdetection": Conventions(p7_relu=False, **MMDETECTION),
    "mmdetection ssd": Conventions(mean=(123.675, 116.28, 103.53), **MMDETECTION),
    "ssd.pytorch": Conventions(clamp="centres", resize="whole", clip_boxes="nothing"),
    "lufficc": Conventions(clamp="centres", resize="whole", clip_boxes="nothing"),
}


def retinanet_priors(family):
    """The priors of a family's cells, where they differ from ours; else nothing."""
    if family == "pytorch-retinanet":
        return ()
    levels = []
    for stride, size in zip(retinanet.STRIDES, retinanet.SIZES):
        # Ratios as these programs have them: height / width.
        shapes = [(size * s, 1 / ratio) for ratio in retinanet.RATIOS for s in retinanet.SCALES]
        levels.append(tuple(published_prior(family, stride, *shape) for shape in shapes))
    return tuple(levels)


def published_prior(family, stride, size, ratio):
    """One prior, xyxy in pixels, of a size and a ratio of height to width."""
    width, height = size / sqrt(ratio), size * sqrt(ratio)
    if family.startswith("torchvision"):
        # Sizes are cut, and corners rounded to whole pixels; priors stand on their cell's corner.
        size = int(size + 1e-6)
        width, height = size / sqrt(ratio), size * sqrt(ratio)
        corners = (-width / 2, -height / 2, width / 2, height / 2)
        return tuple(float(round(corner)) for corner in corners)
    if family == "mmdetection":
        return (-width / 2, -height / 2, width / 2, height / 2)
    # odtk's boxes include the pixels of both borders; 19.04 rounded the sides of every ratio.
    extra = 0 if family == "odtk 19.04" else 1
    if family == "odtk 19.04":
        side = round(stride / sqrt(ratio))
        width, height = side * size / stride, round(side * ratio) * size / stride
    centre = stride / 2
    return (
        centre - width / 2,
        centre - height / 2,
        centre + width / 2 + extra,
        centre + height / 2 + extra,
    )


def ssd_sizes(model, family, ours):
    """The sizes of an SSD's priors: by its program's defaults, and by the number of its classes."""
    shapes = len(ours["box_heads.0.bias"]) // 4
    num_classes = len(ours["class_heads.0.bias"]) // shapes - 1
    coco, voc = RECIPES[f"{model}_coco"].prior_sizes, SIZES[SSD_SIDES[model]]
    if family == "torchvision ssd":
        return coco
    if family == "mmdetection ssd":
        return tuple(int(size) for size in (voc if num_classes == 20 else coco))
    # lufficc and ssd.pytorch have VOC's sizes by default, whatever the number of classes.
    return coco if has_coco_classes(family, num_classes) else voc


def has_coco_classes(family, num_classes):
    """Whether so many classes are COCO's: 80, or the 200 that ssd.pytorch has room for."""
    return num_classes == 80 or (num_classes == 200 and family == "ssd.pytorch")


# The first level of MMDetection's SSDs, in percent of the image's side: by that side, and by the
# smaller end of basesize_ratio_range in percent.
FIRST_SIZES = {(300, 15): 7, (300, 20): 10, (512, 10): 4, (512, 15): 7}


def mmdetection_sizes(config):
    """The sizes of an SSD's priors as an MMDetection configuration, a text, has them; else ().

    They are listed, or follow from basesize_ratio_range as its SSDAnchorGenerator computes them.
    """
    min_sizes, max_sizes = (numbers_in(config, name) for name in ("min_sizes", "max_sizes"))
    if min_sizes and max_sizes:
        return (*min_sizes, max_sizes[-1])
    ratios, side = numbers_in(config, "basesize_ratio_range"), numbers_in(config, "input_size")
    if len(ratios) != 2 or not side:
        return ()
    side, low, high = int(side[0]), int(ratios[0] * 100), int(ratios[1] * 100)
    first = FIRST_SIZES.get((side, low))
    strides = numbers_in(config, "strides")
    if first is None or len(strides) < 3 or high <= low:
        return ()
    step = (high - low) // (len(strides) - 2)
    percents = [first, *range(low, high + 1, step)]
    return tuple(side * percent // 100 for percent in (*percents, percents[-1] + step))


def numbers_in(config, name):
    """The numbers that a configuration's text assigns to the first such name, as a list."""
    found = re.search(rf"\b{name}['\"]?\s*[=:]\s*[\[(]?([\d.,\s]+)", config)
    return [float(number) for number in re.findall(r"\d+\.?\d*|\.\d+", found[1])] if found else []
