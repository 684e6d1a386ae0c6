"""The picture of SSD's augmentation: which part of an image is seen, and how."""

import numpy as np

from data.transforms import crop, crop_and_resize, distort, expand
from lesson.example import IMAGE, val_dataset
from lesson.style import LEVELS, OBJECT, add_box, new_figure, save_figure, show_image

SEED = 2  # of which the four windows differ in kind


def draw_augmentation(windows=4):
    """Windows on the original image, and what the network then sees -> numbers."""
    dataset = val_dataset("ssd")
    image, target = dataset.read(IMAGE)
    random = np.random.default_rng(SEED)
    height, width = image.shape[:2]
    figure, axes = new_figure(2, windows, height=4.3)
    numbers = {}
    for i in range(windows):
        window = expand((height, width), random)
        window, _, asked = crop(window, target["boxes"], target["ignore"], random)
        mirrored = random.random() < 0.5
        seen, boxes = crop_and_resize(window, image, target, (300, 300), (123, 117, 104), mirrored)
        show_image(axes[0, i], image)
        add_box(axes[0, i], window, LEVELS[4], width=2)
        left, top, right, bottom = window
        axes[0, i].set(
            xlim=(min(left, 0) - 8, max(right, width) + 8),
            ylim=(max(bottom, height) + 8, min(top, 0) - 8),
        )
        rule = "no crop" if asked is None else f"an IoU of {asked:g} or more"
        axes[0, i].set_title(rule, fontsize=10)
        show_image(axes[1, i], distort(seen, random), "mirrored" if mirrored else "")
        for box in boxes["boxes"]:
            add_box(axes[1, i], box, OBJECT, width=1.2)
        axes[1, i].set_xlabel(
            f"{len(boxes['boxes'])} of {len(target['boxes'])} objects", fontsize=9
        )
        numbers[f"augmentation.{i}"] = f"{len(boxes['boxes'])}"
    axes[0, 0].set_ylabel("the window")
    axes[1, 0].set_ylabel("what the network sees")
    save_figure(figure, "augmentation")
    return numbers
