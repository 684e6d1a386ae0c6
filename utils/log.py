"""What a run tells: log.jsonl, a progress bar, visdom, TensorBoard, and curves.png."""

import json
import math
import time
from contextlib import AbstractContextManager
from itertools import takewhile

import numpy as np
import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from data.text import UserError, file_errors
from utils import parallel
from utils.draw import write_figure
from utils.evaluation.pictures import prediction_sheet
from utils.files import no_link, write
from utils.steps import relative_step

# Iterations in which a learning rate that is too high shows, before the weights have grown.
FIRST_ITERATIONS = 100
# Of curves.png: title, names, and the corner where lines leave room for the legend.
PANELS = (
    ("loss", ("box_loss", "class_loss"), "upper right"),
    ("learning rate", ("lr",), "upper right"),
    ("average precision", ("AP", "AP50", "mAP"), "upper left"),
)
WINDOW = 0.05  # the share of a curve's points in a running mean
MIN_POINTS = 20  # a shorter curve has no running mean, and its points are drawn as dots


class Log(AbstractContextManager):
    """Writes losses to log.jsonl every log_every iterations, and metrics after each evaluation.

    Each line of the file is a JSON object. Of several processes only the first one writes.
    """

    def __init__(self, folder, recipe, per_epoch, start=0, largest_step=0.0):
        self.path = folder / "log.jsonl"
        self.recipe = recipe
        self.per_epoch = per_epoch
        self.silent = parallel.rank() > 0
        self.is_begun = False
        self.has_failed = False
        self.epoch_loss = 0.0
        self.largest_step = torch.tensor(largest_step)  # of those measured since the last line
        self.start = start
        self.restart_clock()
        self.watchers = []
        if self.silent:
            return
        if recipe.visdom or recipe.logdir:
            from utils.watch import watchers

            self.watchers = watchers(recipe, folder.name, start)
        self.bar = tqdm(
            total=recipe.iterations, initial=start, unit="it", disable=None, dynamic_ncols=True
        )

    def timed(self, batches):
        """Yield the batches; count their images, and the seconds spent waiting for them."""
        asked = time.perf_counter()
        for images, targets in batches:
            self.waited += time.perf_counter() - asked
            self.images += len(images)
            yield images, targets
            asked = time.perf_counter()

    def step(self, iteration, values, optimizer):
        """Count an iteration; every log_every iterations, write its values, name -> tensor.

        Values are read only then, because reading makes the program wait for the device.
        """
        is_line = iteration % self.recipe.log_every == 0
        # Measuring takes some time, so later on only the steps of the log's lines are measured.
        if is_line or iteration <= FIRST_ITERATIONS:
            step = relative_step(optimizer)
            before = self.largest_step.to(step.device, non_blocking=True)
            self.largest_step = torch.maximum(before, step)
        if is_line:
            values = values | dict(relative_step=self.largest_step)
            self.largest_step = torch.zeros_like(self.largest_step)
        if self.silent:
            return
        self.bar.update(1)
        if is_line:
            self.write_step(iteration, {name: float(value) for name, value in values.items()})
        if not self.watchers:
            return
        # A sum on the device, which is read once in an epoch.
        self.epoch_loss = self.epoch_loss + values["box_loss"] + values["class_loss"]
        if iteration % self.per_epoch == 0:
            # After a resume, the sum covers only the rest of an epoch.
            loss = float(self.epoch_loss) / min(self.per_epoch, iteration - self.start)
            self.show("train", iteration, dict(epoch_loss=loss))
            self.epoch_loss = 0.0

    def write_step(self, iteration, values):
        """Write the values of an iteration everywhere, and the speed since the last time."""
        seconds = time.perf_counter() - self.clock
        # The other processes load as many.
        speed = self.images * parallel.world_size() / seconds
        waiting = self.waited / seconds
        measured = dict(images_per_second=round(speed, 1), data_wait=round(waiting, 3))
        self.write(iteration, values | measured)
        total = values["box_loss"] + values["class_loss"]
        self.show("train", iteration, values | measured | dict(total=total))
        text = "  ".join(
            f"{name} {value:.3g}" for name, value in values.items() if name != "relative_step"
        )
        text += f"  {speed:.1f} images/s  waiting for data {waiting:.0%}"
        self.bar.set_postfix_str(text, refresh=False)
        if self.bar.disable:
            # The output is not a terminal, which would show the bar.
            iterations = self.recipe.iterations
            left = tqdm.format_interval((iterations - iteration) * self.recipe.batch / speed)
            print(f"iteration {iteration} of {iterations}: {text}  {left} to go", flush=True)
        self.restart_clock()

    def evaluation(self, iteration, evaluation, dataset):
        """Write the metrics of an evaluation; its time does not count as that of the run."""
        if self.silent:
            return
        self.write(iteration, evaluation.metrics)
        first = dict(list(evaluation.metrics.items())[:2])
        self.bar.write(
            f"iteration {iteration}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in first.items())
        )
        self.show("val", iteration, first)
        if self.watchers:
            threshold = evaluation.operating_point.threshold
            picture = prediction_sheet(dataset, evaluation.detections, threshold)
            for watcher in self.watchers:
                watcher.picture("detections", picture, iteration)
        self.restart_clock()

    def restart_clock(self):
        self.images = 0
        self.waited = 0.0
        self.clock = time.perf_counter()

    def show(self, split, iteration, values):
        """Add a point to the curve of each value, in a browser if the recipe asks for it."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for watcher in self.watchers:
            watcher.points(split, iteration, finite)

    def write(self, iteration, values):
        """Append an entry. A full disk does not stop the run, and is reported only once."""
        # JSON has neither nan nor infinity.
        values = {name: value if math.isfinite(value) else None for name, value in values.items()}
        try:
            if not self.is_begun and self.path.exists():
                # The iterations after this checkpoint are repeated.
                forget_after(self.path, self.start)
            self.is_begun = True
            append_entry(self.path, dict(iteration=iteration) | values)
        except UserError as error:
            if not self.has_failed:
                self.bar.write(f"warning: {error}")
            self.has_failed = True

    def __exit__(self, *error):
        if not self.silent:
            self.bar.close()
            # An error here would keep what was trained from being saved.
            try:
                draw_curves(self.path.with_name("curves.png"), read_log(self.path))
            except UserError as error:
                print(f"warning: {error}")


def append_entry(path, entry):
    """Append an entry to a log, as a line of JSON."""
    with file_errors(path, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8", opener=no_link) as file:
            file.write(json.dumps(entry) + "\n")


def read_log(path):
    """The entries of a log, without lines that are broken; [] if there is no log."""
    with file_errors(path):
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if line.endswith(b"\n") and isinstance(entry, dict) and "iteration" in entry:
            entries.append(entry)
    return entries


def forget_after(path, iteration):
    """Remove from a log what came after an iteration, which a resumed run does again, and what the
    end of the run added."""
    kept = takewhile(
        lambda entry: entry["iteration"] <= iteration and "train_AP50" not in entry, read_log(path)
    )
    write(path, "".join(json.dumps(entry) + "\n" for entry in kept), replace=True)


def draw_curves(path, entries):
    """Draw the curves of a log's entries into a file."""
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
    write_figure(path, figure, dpi=100)


def draw_line(axes, name, iterations, values, averaged):
    """Draw a curve: if averaged, its running mean, and its values faintly behind."""
    # The loss of a single batch says little.
    if averaged and len(values) >= MIN_POINTS:
        (faint,) = axes.plot(iterations, values, alpha=0.25, linewidth=0.8)
        axes.plot(iterations, running_mean(values), label=name, color=faint.get_color())
    else:
        marker = "." if len(values) < MIN_POINTS else None
        axes.plot(iterations, values, label=name, marker=marker)


def running_mean(values):
    """The mean of each value and its neighbours, which are fewer at both ends: [N] -> [N]."""
    half = max(round(len(values) * WINDOW / 2), 1)
    window = np.ones(2 * half + 1)
    sums = np.convolve(values, window)[half:-half]
    counts = np.convolve(np.ones(len(values)), window)[half:-half]
    return sums / counts
