"""The picture of matching: which priors answer for which object, in both detectors."""

from layers.boxes import xyxy_to_cxcywh
from layers.matching import IGNORED as IGNORED_LABEL
from lesson.example import NAMES, look
from lesson.example import OBJECT as EXAMPLE
from lesson.style import (
    IGNORED,
    LEVELS,
    OBJECT,
    add_box,
    dim,
    new_figure,
    save_figure,
    show_image,
)


def draw_matching():
    """Matched priors by level, ignored ones grey, their centres as dots -> numbers."""
    figure, axes = new_figure(1, 2, height=3.9)
    numbers = {}
    for axis, name in zip(axes, ("ssd", "retinanet")):
        view = look(name)
        positive, ignored = view.labels >= 0, view.labels == IGNORED_LABEL
        show_image(axis, dim(view.image, 0.7))
        for box in view.targets[0]["boxes"]:
            add_box(axis, box, OBJECT, width=1.4)
        centres = xyxy_to_cxcywh(view.priors)[:, :2]
        axis.plot(*centres[ignored].T, "s", color=IGNORED, markersize=4, markeredgecolor="black",
                  markeredgewidth=0.4)  # fmt: skip
        for row in positive.nonzero()[:, 0].tolist():
            colour = LEVELS[view.level_of(row)]
            add_box(axis, view.priors[row], colour, width=0.8, fill="none")
            axis.plot(*centres[row], "o", color=colour, markersize=4, markeredgecolor="black",
                      markeredgewidth=0.4)  # fmt: skip
        height, width = view.image.shape[:2]
        axis.set(xlim=(0, width), ylim=(height, 0))
        count, total = int(positive.sum()), len(view.labels)
        grey = int(ignored.sum())
        axis.set_title(
            f"{NAMES[name]}: of {total:,} priors {count} are matched,\n"
            f"{grey} ignored (grey), {total - count - grey:,} background",
            fontsize=10,
        )
        numbers |= matching_numbers(name, view, positive, ignored)
    save_figure(figure, "matching")
    return numbers


def matching_numbers(name, view, positive, ignored):
    """How many priors are what, and how the example object fared."""
    box = view.targets[0]["boxes"][EXAMPLE]
    of_example = (view.boxes == box).all(dim=1) & positive
    forced = view.overlaps.max(dim=1).values < view.recipe.positive_iou
    background = len(view.labels) - int(positive.sum()) - int(ignored.sum())
    return {
        f"{name}.total": f"{len(view.labels):,}",
        f"{name}.positives": f"{int(positive.sum())}",
        f"{name}.ignored": f"{int(ignored.sum())}",
        f"{name}.background": f"{background:,}",
        f"{name}.example_priors": f"{int(of_example.sum())}",
        f"{name}.forced_objects": f"{int(forced.sum())}",
        f"{name}.objects": f"{len(view.overlaps)}",
        f"{name}.per_object": f"{background / int(positive.sum()):.0f}",
    }
