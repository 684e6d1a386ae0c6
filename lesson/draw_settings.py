"""The same training with one setting changed, as curves and numbers.

python -m lesson.draw_settings weights/gamma_0      # keep AP50 of that run on its way

Each was `python train.py --recipe lesson/recipe_clinic.py --eval-every 50` with the flags below,
but for those from other weights, on photos that are not in this repository.
"""

import json
import sys
from pathlib import Path

from lesson.draw_log import results_of
from lesson.style import LINES, in_style, new_figure, save_figure
from utils.log import read_log

FOLDER = Path(__file__).parent / "settings"
# What is changed -> name of a run -> what was typed, and what it is called in the picture.
SETTINGS = {
    "focal loss": {
        "gamma_0": ("--focal-gamma 0", "gamma 0"),
        "usual": ("", "gamma 2"),
    },
    "learning rate": {
        "lr_low": ("--lr 0.0002", "0.0002"),
        "usual": ("", "0.002"),
        "lr_high": ("--lr 0.02", "0.02"),
    },
    "short side": {
        "side_64": ("--resize 64 --max-size 80", "64 px"),
        "usual": ("", "96 px"),
        "side_128": ("--resize 128 --max-size 160", "128 px"),
    },
    "first weights": {
        "cells_random": ("--weights none", "random"),
        "cells_shapes": ("--weights weights/retinanet_shapes/best.pth", "of shapes"),
    },
}
COLOURS = (LINES[3], LINES[4], LINES[2])


def keep_log(run):
    """Keep what is drawn of a run's log, by the name of its folder."""
    entries = [
        dict(iteration=entry["iteration"], AP50=entry["AP50"])
        for entry in read_log(run / "log.jsonl")
        if "AP50" in entry
    ]
    path_of_log(run.name).write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def path_of_log(name):
    """The file with what is kept of a run."""
    return FOLDER / f"{name}.jsonl"


@in_style
def draw_settings():
    """Draw AP50 of all runs on their way -> numbers."""
    figure, panels = new_figure(2, 2, height=6.4, sharey=True)
    for axis, (title, trainings) in zip(panels.flat, SETTINGS.items()):
        for (name, (_, label)), colour in zip(trainings.items(), COLOURS):
            results = read_log(path_of_log(name))
            axis.plot(
                [0, *(entry["iteration"] for entry in results)],
                [0, *(entry["AP50"] for entry in results)],
                color=colour, label=label, clip_on=False,
            )  # fmt: skip
        axis.set(title=title, xlabel="iteration", xlim=0, ylim=(0, 1))
        axis.legend(loc="best", frameon=False)
    for axis in panels[:, 0]:
        axis.set(ylabel="AP50")
    save_figure(figure, "settings")
    return settings_numbers()


def settings_numbers():
    """AP50 at the end of each run: name -> text."""
    return {
        f"settings.{name}": f"{results_of(path_of_log(name))['AP50']:.2f}"
        for trainings in SETTINGS.values()
        for name in trainings
    }


if __name__ == "__main__":
    keep_log(Path(sys.argv[1]))
