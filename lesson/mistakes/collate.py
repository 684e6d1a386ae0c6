"""What is asked of collate, and what often goes wrong."""

import numpy as np

from lesson.diagnose import Mistake, Probe


def sample(height, width, *boxes):
    """An image whose bytes are all different, and its target."""
    image = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    target = dict(boxes=np.array(boxes, np.float32).reshape(-1, 4), labels=np.arange(len(boxes)))
    return image, target


def probe(name, *samples, divisor=4):
    return Probe(name, "collate", (list(samples), divisor, (124, 116, 104)))


PROBES = (
    probe("an image of one pixel", sample(1, 1, (0, 0, 1, 1)), divisor=1),
    probe("an image of one row of two pixels", sample(1, 2, (0, 0, 1, 1)), divisor=1),
    probe("an image of one column", sample(2, 1), divisor=2),
    probe("an image whose sides are multiples", sample(4, 8, (1, 1, 3, 4))),
    probe("an image whose sides are not multiples", sample(3, 5, (1, 1, 3, 3))),
    probe("a wide image and a tall one", sample(3, 6, (1, 0, 2, 3)), sample(5, 2)),
)

CANVAS = "canvas[:rows, :columns] = image"

MISTAKES = (
    Mistake(
        "The sides are not rounded up to multiples of the divisor.",
        (
            ("(height + divisor - 1) // divisor * divisor", "height"),
            ("(width + divisor - 1) // divisor * divisor", "width"),
        ),
    ),
    Mistake(
        "A side that is a multiple already gets a whole divisor more.",
        (
            ("(height + divisor - 1)", "(height + divisor)"),
            ("(width + divisor - 1)", "(width + divisor)"),
        ),
    ),
    Mistake(
        "The sides are rounded down to multiples of the divisor, and images do not fit any more.",
        (("(height + divisor - 1)", "height"), ("(width + divisor - 1)", "width")),
    ),
    Mistake(
        "All sides are as long as the longest; height and width have a maximum each.",
        (("axis=0)\n", "axis=0)\n    height = width = max(height, width)\n"),),
    ),
    Mistake(
        "The images lie at the bottom right, away from their boxes; they must be at the top left.",
        ((CANVAS, "canvas[height - rows :, width - columns :] = image"),),
    ),
    Mistake(
        "The images lie in the middle, away from their boxes; they must be at the top left.",
        (
            (
                CANVAS,
                "y, x = (height - rows) // 2, (width - columns) // 2\n"
                "        canvas[y : y + rows, x : x + columns] = image",
            ),
        ),
    ),
    Mistake(
        "The padding is black; it must have the colour.",
        (("images[:] = colour", "images[:] = 0"),),
    ),
    Mistake(
        "reshape mixes pixels and channels; the channels must move to the front: permute.",
        ((".permute(0, 3, 1, 2)", ".reshape(len(images), 3, height, width)"),),
    ),
    Mistake(
        "Height and width are exchanged: permute(0, 3, 1, 2) keeps their order.",
        ((".permute(0, 3, 1, 2)", ".permute(0, 3, 2, 1)"),),
    ),
    Mistake(
        "The channels must come before height and width: permute(0, 3, 1, 2).",
        ((".permute(0, 3, 1, 2)", ""),),
    ),
    Mistake(
        "The channels are in reverse order, blue first.",
        (("] = image\n", "] = image[..., ::-1]\n"),),
    ),
    Mistake(
        "The images become floats; bytes need a quarter of the memory on the way to the device.",
        ((".permute(0, 3, 1, 2)", ".permute(0, 3, 1, 2).float()"),),
    ),
    Mistake(
        "The images become floats from 0 to 1; they must stay bytes.",
        ((".permute(0, 3, 1, 2)", ".permute(0, 3, 1, 2) / 255"),),
    ),
    Mistake(
        "The arrays in the targets must become tensors: torch.from_numpy.",
        (("torch.from_numpy(target[name])", "target[name]"),),
    ),
)
