"""What runs wrote of themselves, as a table, a picture and numbers."""

import re
from pathlib import Path

from lesson.style import BACKGROUND_COLOUR, POSITIVE_COLOUR, in_style, new_figure, save_figure
from utils.log import read_log, running_mean
from utils.recipes import RECIPES

DOCS = Path(__file__).parent.parent / "docs"
# RetinaNet-18 and SSD300 on photos of blood cells; docs/results.md has their commands.
RUN = DOCS / "runs/retinanet18_bccd_seed0.jsonl"
SEEDS = tuple(DOCS / f"runs/ssd300_bccd_seed{seed}.jsonl" for seed in (0, 1))
RECIPE = RECIPES["retinanet_scratch"]
SHOWN = (20, 60, 100, 200, 300, 400, 500)  # iterations of the run
COLUMNS = ("box_loss", "class_loss", "grad_norm", "lr", "relative_step", "data_wait")


def steps_of(path):
    """The entries of a log about iterations, without those about evaluations."""
    return [entry for entry in read_log(path) if "lr" in entry]


def results_of(path):
    """The last value of everything that a log has."""
    return {name: value for entry in read_log(path) for name, value in entry.items()}


def log_table():
    """Some lines of the run's log."""
    steps = {entry["iteration"]: entry for entry in steps_of(RUN)}
    lines = [f"| iteration | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for iteration in SHOWN:
        values = [f"{steps[iteration][name]:.2g}" for name in COLUMNS]
        lines.append(f"| {iteration} | {' | '.join(values)} |")
    return "\n".join(lines)


@in_style
def draw_log():
    """Draw the losses of the run, and those of two runs that differ by their seed -> numbers."""
    figure, axes = new_figure(1, 2, height=3.7)
    steps = steps_of(RUN)
    for name, colour in (("box_loss", POSITIVE_COLOUR), ("class_loss", BACKGROUND_COLOUR)):
        draw_line_of(axes[0], steps, name, colour, name)
    for seed, colour in enumerate((POSITIVE_COLOUR, BACKGROUND_COLOUR)):
        draw_line_of(axes[1], steps_of(SEEDS[seed]), "class_loss", colour, f"seed {seed}")
    axes[0].set(title="RetinaNet-18: both losses")
    axes[1].set(title="SSD300: the class loss, twice")
    for axis in axes:
        axis.set(xlabel="iteration")
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper right", frameon=False)
    save_figure(figure, "log")
    return log_numbers()


def draw_line_of(axis, steps, name, colour, label):
    """Draw values of a log faintly, and their running mean."""
    iterations = [entry["iteration"] for entry in steps]
    values = [entry[name] for entry in steps]
    axis.plot(iterations, values, color=colour, alpha=0.3, linewidth=1)
    axis.plot(iterations, running_mean(values), color=colour, label=label)


def log_numbers():
    """The numbers of these runs that the text has: name -> text."""
    results = results_of(RUN)
    (shapes_row,) = re.findall(r"^\| `shapes` \|.*$", (DOCS / "results.md").read_text(), re.M)
    seeds = [float(value) for value in re.findall(r"(0\.\d+) /", shapes_row)]
    return {
        "log.iterations": f"{results['iteration']}",
        "log.batch": f"{RECIPE.batch}",
        "log.photos": f"{results['iteration'] * RECIPE.batch / results['passes']:.0f}",
        "log.giou": f"{1 - steps_of(RUN)[-1]['box_loss'] / RECIPE.box_weight:.2f}",
        "log.clip": f"{RECIPE.max_grad_norm:g}",
        "log.warmup": f"{RECIPE.warmup}",
        "log.val": f"{results['AP50']:.3f}",
        "log.train": f"{results['train_AP50']:.3f}",
        "log.passes": f"{results['passes']:.1f}",
        "log.seed0": f"{results_of(SEEDS[0])['AP']:.3f}",
        "log.seed1": f"{results_of(SEEDS[1])['AP']:.3f}",
        "log.seeds": f"{max(seeds) - min(seeds):.3f}",
    }
