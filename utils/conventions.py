"""Conventions: what a detector's numbers mean where programs differ and no folding of the weights can hide it."""
from dataclasses import asdict, dataclass, replace
from math import sqrt

from layers.heads import Normalize
from layers.priors import Level


@dataclass(frozen=True)
class Conventions:
    """Ours are the defaults. A checkpoint made from a published one keeps its publisher's."""
    # Priors.
    rounded: str = ""            # torchvision: sizes cut, corners rounded to pixels; odtk: the sides of each ratio
    centre: float = 0.5          # where in their cell they stand: in the middle, or at 0, its corner
    wider: int = 0               # pixels by which right and bottom lie further out: odtk's boxes include both borders
    fitted: bool = False         # the stride is the side of the image // cells
    clamp: str = ""              # SSD: cut to the image are "sizes", or "centres" as well
    # The network.
    mean: tuple = ()             # of the pixels; the model's own where empty
    norm_epsilon: float = 1e-5   # of batch norm
    p6_from: str = "c5"          # or p5
    p7_relu: bool = True
    # Images.
    resize: str = "bytes"        # or whole, float, pil: data/resize.py
    floor: bool = False          # sides of resized images are cut to whole pixels, not rounded
    exact: bool = False          # the padding is the exact mean, which bytes are not
    multiple: int = 32           # of which padded sides are multiples
    border: int = 0              # pixels that are padded at least
    clip: str = "image"          # what boxes are cut at before NMS: the image, the padded input, or nothing


IMAGES = ("resize", "floor", "exact", "multiple", "border", "clip")
TORCHVISION = dict(resize="float", floor=True, exact=True)
MMDETECTION = dict(resize="whole", exact=True)
CONVENTIONS = {
    "pytorch-retinanet": Conventions(resize="float", exact=True, border=1, clip="input"),
    "odtk": Conventions(wider=1, resize="pil", floor=True, exact=True, multiple=128, clip="input"),
    "odtk 19.04": Conventions(rounded="odtk", resize="pil", floor=True, exact=True, multiple=128, clip="input"),
    "torchvision v1": Conventions(
        rounded="torchvision", centre=0, fitted=True, norm_epsilon=0.0, p6_from="p5", **TORCHVISION),
    "torchvision v2": Conventions(rounded="torchvision", centre=0, fitted=True, **TORCHVISION),
    "torchvision ssd": Conventions(clamp="sizes", **TORCHVISION),
    "mmdetection": Conventions(centre=0, p7_relu=False, **MMDETECTION),
    "mmdetection ssd": Conventions(mean=(123.675, 116.28, 103.53), **MMDETECTION),
    "ssd.pytorch": Conventions(clamp="centres", resize="whole", clip="nothing"),
    "lufficc": Conventions(clamp="centres", resize="float", clip="nothing"),
}


def placed(level, conventions):
    """A level's priors, rounded and placed as the conventions say."""
    cell = []
    for left, top, right, bottom in level.cell:
        size, ratio = sqrt((right - left) * (bottom - top)), round((bottom - top) / (right - left), 6)
        width, height = right - left, bottom - top
        if conventions.rounded == "torchvision":
            size = int(size + 1e-6)
            width, height = size / sqrt(ratio), size * sqrt(ratio)
        elif conventions.rounded == "odtk":
            side = round(level.stride / sqrt(ratio))
            width, height = side * size / level.stride, round(side * ratio) * size / level.stride
        x = y = level.stride * conventions.centre
        box = (x - width / 2, y - height / 2, x + width / 2 + conventions.wider, y + height / 2 + conventions.wider)
        cell.append(tuple(float(round(side)) for side in box) if conventions.rounded == "torchvision" else box)
    return Level(level.stride, tuple(cell), conventions.fitted, conventions.clamp)


def follow(model, conventions):
    """Let a model see pixels and batch norm as the conventions say."""
    if conventions.mean:
        model.normalize = Normalize(conventions.mean, model.normalize.std.flatten().tolist())
    for norm in model.base.norms():
        norm.eps = conventions.norm_epsilon


def with_our_images(conventions):
    """The same, but that images go through our own, faster pipeline."""
    return replace(conventions, **{name: getattr(Conventions, name) for name in IMAGES})


def describe(conventions):
    """Where they differ from ours, in words."""
    ours = asdict(Conventions())
    return ", ".join(f"{name} {value}" for name, value in asdict(conventions).items() if value != ours[name]) or "ours"
