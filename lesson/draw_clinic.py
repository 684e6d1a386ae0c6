"""The pictures of the clinic: a patient's losses and errors beside a healthy training's, and its
detections."""

import json
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from data.shapes import CLASSES as NAMES
from lesson.example import val_dataset
from lesson.recipe_clinic import recipe
from lesson.style import (
    BACKGROUND_COLOUR,
    CLASSES,
    OBJECT_COLOUR,
    POSITIVE_COLOUR,
    add_box,
    add_colours,
    dim,
    in_style,
    show_image,
    write_picture,
)
from lesson.symptoms import SHOWN
from utils.log import running_mean

FOLDER = Path(__file__).parent / "clinic"


def load_symptoms(path):
    """What lesson/symptoms.py wrote of a run."""
    return json.loads(path.read_text())


@in_style
def draw_patient(path, symptoms, healthy, number):
    """Draw a patient's curves, errors and detections; number 0 is the healthy training itself."""
    runs = {"healthy": (healthy, BACKGROUND_COLOUR)}
    if number:
        runs[f"patient {number}"] = (symptoms, POSITIVE_COLOUR)
    figure = Figure(figsize=(8, 5.2), dpi=100, layout="constrained")
    upper, lower = figure.subfigures(2, height_ratios=(1, 1.05))
    box_axes, class_axes, cost_axes = upper.subplots(1, 3)
    draw_losses(box_axes, runs, "box_loss")
    draw_losses(class_axes, runs, "class_loss")
    draw_costs(cost_axes, runs)
    handles, labels = box_axes.get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside upper center", ncols=len(runs), frameon=False)
    for axis, image in zip(lower.subplots(1, len(symptoms["images"])), symptoms["images"]):
        draw_detections(axis, image)
    add_colours(lower, ("truth", *NAMES), ("#dddddd", *CLASSES))
    write_picture(figure, path)


def draw_losses(axis, runs, name):
    """Draw a loss of every run: its running mean, and faintly every batch's."""
    for label, (run, colour) in runs.items():
        axis.plot(run["iteration"], run[name], color=colour, alpha=0.25, linewidth=0.8)
        # The healthy curve is wide, to be seen below one that is the same.
        width = 5 if label == "healthy" and len(runs) > 1 else 2
        mean = running_mean(run[name])
        axis.plot(run["iteration"], mean, color=colour, linewidth=width, label=label)
    # The losses of some patients are a hundred times those of others.
    axis.set(yscale="log", title=name.replace("_", " "), xlabel="iteration")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def draw_costs(axis, runs):
    """Draw AP50 of the last weights, and below it what it is lost to, as eval.py says it."""
    height = 0.8 / len(runs)
    for i, (run, colour) in enumerate(runs.values()):
        values = [run["AP50"], *run["costs"].values()]
        axis.barh(
            [place + i * height for place in range(len(values))], values, height, color=colour
        )
    names = ["AP50", *(f"lost: {kind}" for kind in run["costs"])]
    axis.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
    axis.tick_params(axis="y", labelsize=10)
    axis.set(xlim=(0, 1), title="AP50 at the end")
    axis.invert_yaxis()


def draw_detections(axis, image):
    """Draw an image with its objects and detections, dotted where their score is low."""
    pixels, _ = val_dataset("retinanet").read(image["index"])
    height, width = pixels.shape[:2]
    show_image(axis, dim(pixels, 0.6))
    for box, _ in image["truth"]:
        add_box(axis, box, OBJECT_COLOUR, width=1)
    # The best box on top: those below it may claim other classes for the same object.
    for box, name, score in reversed(image["found"]):
        style = "-" if score >= SHOWN else ":"
        add_box(axis, box, CLASSES[NAMES.index(name)], width=1.8, style=style, fill="none")
    scores = [score for *_, score in image["found"]]
    count = sum(score >= SHOWN for score in scores)
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.set_xlabel(f"{count} over {SHOWN:g}, best {max(scores, default=0):.2f}")


def clinic_numbers():
    """The numbers of the clinic that the text has: name -> text."""
    return {
        "clinic.size": f"{recipe.max_size} x {recipe.resize}",
        "clinic.iterations": f"{recipe.iterations}",
        "clinic.batch": f"{recipe.batch}",
    }
