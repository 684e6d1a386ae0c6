"""The curves of a run: losses, learning rate and average precision over the iterations."""

import numpy as np
from matplotlib.figure import Figure

PANELS = (  # title, names, and the corner that the lines leave to the legend
    ("loss", ("box_loss", "class_loss"), "upper right"),
    ("learning rate", ("lr",), "upper right"),
    ("average precision", ("AP", "AP50", "mAP"), "upper left"),
)
WINDOW = 0.05  # the share of a curve's points that a mean is taken over
FEW = 20  # points of a curve that are drawn as such


def draw_curves(path, entries):
    """Write curves.png of a log's entries; a file that cannot be written is a warning.

    A batch's loss says little: the strong line is the mean of several.
    """
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    panels = figure.subplots(1, len(PANELS), sharex=True)
    for axes, (title, names, corner) in zip(panels, PANELS):
        for name in names:
            points = [
                (entry["iteration"], entry[name])
                for entry in entries
                if entry.get(name) is not None
            ]
            if points:
                draw_line(axes, name, *np.transpose(points), averaged=title == "loss")
                axes.legend(loc=corner)
        axes.set(title=title, xlabel="iteration")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    try:
        figure.savefig(path, dpi=100)
    except OSError as error:
        print(f"warning: {path}: cannot be written ({error.strerror})")


def draw_line(axes, name, iterations, values, averaged):
    """One line; of an averaged one, the single values faintly behind it."""
    if averaged and len(values) >= FEW:
        (faint,) = axes.plot(iterations, values, alpha=0.25, linewidth=0.8)
        axes.plot(iterations, running_mean(values), label=name, color=faint.get_color())
    else:
        axes.plot(iterations, values, label=name, marker="." if len(values) < FEW else None)


def running_mean(values):
    """The mean of each value and those around it; fewer of them at both ends."""
    half = max(round(len(values) * WINDOW / 2), 1)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)
