"""A run's diary: log.jsonl, a progress bar, visdom and TensorBoard, and curves drawn from the
diary."""

import json
import math
import os
import time

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from data.text import UserError
from utils import parallel
from utils.evaluation.pictures import prediction_sheet
from utils.steps import StepSize

LONG = 12 * 3600  # seconds, from which on a training's length is worth a remark
PANELS = (  # title, names, and the corner that the lines leave to the legend
    ("loss", ("box_loss", "class_loss"), "upper right"),
    ("learning rate", ("lr",), "upper right"),
    ("average precision", ("AP", "AP50", "mAP"), "upper left"),
)
WINDOW = 0.05  # the share of a curve's points that a mean is taken over
FEW = 20  # points of a curve that are drawn as such


class Log:
    """A JSON object a line in log.jsonl: losses every so many iterations, metrics at each
    evaluation.

    Of several processes only the first writes; the others' log is silent.
    """

    def __init__(self, folder, recipe, per_epoch, start=0):
        self.path, self.recipe, self.per_epoch = folder / "log.jsonl", recipe, per_epoch
        self.silent, self.failed = parallel.rank() > 0, False
        self.epoch_losses = []
        self.step_size = StepSize(recipe.log_every)
        self.start, self.started = start, None
        self.restart_clock()
        if self.silent:
            return
        self.watchers = []
        if recipe.visdom or recipe.logdir:
            from utils.watch import watchers

            self.watchers = watchers(recipe, folder.name, resumed=start > 0)
        # What a stopped run did after its last checkpoint is about to happen again.
        forget_after(self.path, start)
        self.bar = tqdm(
            total=recipe.iterations, initial=start, unit="it", disable=None, dynamic_ncols=True
        )

    def watch(self, batches):
        """The same batches, while counting images and the seconds spent waiting for them."""
        asked = time.perf_counter()
        for images, targets in batches:
            self.waited += time.perf_counter() - asked
            self.images += len(images)
            yield images, targets
            asked = time.perf_counter()

    def step(self, iteration, values, optimizer):
        """Every so often, write the values; only then is the device asked for them."""
        relative_step = self.step_size.since_last_line(iteration, optimizer)
        if self.silent:
            return
        self.bar.update(1)
        self.tell_duration(iteration)
        if iteration % self.recipe.log_every == 0:
            values = values | dict(relative_step=relative_step)
            self.write_step(iteration, {name: float(value) for name, value in values.items()})
        if iteration % self.per_epoch == 0 and self.epoch_losses:
            loss = sum(self.epoch_losses) / len(self.epoch_losses)
            self.show("loss of epochs", iteration // self.per_epoch, loss=loss)
            self.epoch_losses = []

    def tell_duration(self, iteration):
        """Say once how long the training will take: measured on ten iterations after the first."""
        if iteration == self.start + 1:
            self.started = time.time()
        if iteration != self.start + 11:
            return
        seconds = self.seconds_left(iteration)
        end = time.strftime("%a %H:%M", time.localtime(time.time() + seconds))
        line = f"about {in_words(seconds)} to go, evaluations not counted: until {end}"
        if seconds > LONG:
            line += "; fewer --iterations, a smaller --resize or --depth, or a GPU make it shorter"
        self.bar.write(line)

    def seconds_left(self, iteration):
        """How long the rest takes, at the mean speed since the first iteration."""
        done = iteration - self.start - 1
        return (time.time() - self.started) / done * (self.recipe.iterations - iteration)

    def write_step(self, iteration, values):
        seconds = time.perf_counter() - self.clock
        # The other processes load as many.
        speed = self.images * parallel.world_size() / seconds
        waiting = self.waited / seconds
        measured = dict(images_per_second=round(speed, 1), data_wait=round(waiting, 3))
        self.write(dict(iteration=iteration) | finite(values) | measured)
        losses = {name: values[name] for name in ("box_loss", "class_loss")}
        self.epoch_losses.append(sum(losses.values()))
        self.show("loss", iteration, **losses, total=sum(losses.values()))
        self.show("learning rate", iteration, lr=values["lr"])
        self.show("images per second", iteration, speed=speed)
        self.show("waiting for data", iteration, share=waiting)
        shown = {name: value for name, value in values.items() if name != "relative_step"}
        report = "  ".join(f"{name} {value:.3g}" for name, value in shown.items())
        self.report(iteration, f"{report}  {speed:.1f} images/s  waiting for data {waiting:.0%}")
        self.restart_clock()

    def evaluation(self, iteration, evaluation, dataset):
        """The result of an evaluation of a dataset; its time does not count as training's."""
        if self.silent:
            return
        self.write(dict(iteration=iteration) | finite(evaluation.metrics))
        first = dict(list(evaluation.metrics.items())[:2])
        self.bar.write(
            f"iteration {iteration}: "
            + ", ".join(f"{name} {value:.3f}" for name, value in first.items())
        )
        known_first = {name: value for name, value in first.items() if value == value}
        self.show("average precision", iteration, **known_first)
        if self.watchers:
            threshold = evaluation.operation.threshold
            picture = prediction_sheet(dataset, evaluation.detections, threshold)
            for watcher in self.watchers:
                watcher.picture("detections", picture, iteration)
        self.restart_clock()

    def restart_clock(self):
        self.images, self.waited, self.clock = 0, 0.0, time.perf_counter()

    def show(self, window, iteration, **values):
        for watcher in self.watchers:
            watcher.points(window, iteration, **values)

    def report(self, iteration, text):
        if self.bar.disable:
            left = ""
            if self.started is not None and iteration > self.start + 1:
                left = f"  {in_words(self.seconds_left(iteration))} to go"
            print(f"iteration {iteration} of {self.recipe.iterations}: {text}{left}", flush=True)
        else:
            self.bar.set_postfix_str(text, refresh=False)

    def write(self, entry):
        """Append an entry. A full disk ends no training; it is said once."""
        try:
            append_entry(self.path, entry)
        except UserError as error:
            if not self.failed:
                self.bar.write(f"warning: {error}")
            self.failed = True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        if not self.silent:
            self.bar.close()
            draw_curves(self.path.with_name("curves.png"), read_log(self.path))


def append_entry(path, entry):
    """Add a line to a log."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def finite(values):
    """The same values by name, None for those that JSON has no number for."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def in_words(seconds):
    """A duration in hours and minutes."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min"


def read_log(path):
    """All entries of a log, none where there is no log; what is no entry is left out."""
    return [entry for entry, _ in entries_with_ends(path)]


def entries_with_ends(path):
    """(entry, position behind it) of every whole line that is one."""
    if not path.exists():
        return
    end = 0
    for line in path.read_bytes().splitlines(keepends=True):
        end += len(line)
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if line.endswith(b"\n") and isinstance(entry, dict) and "iteration" in entry:
            yield entry, end


def forget_after(path, iteration):
    """Cut a log off behind the last entry of this iteration or an earlier one."""
    ends = [end for entry, end in entries_with_ends(path) if entry["iteration"] <= iteration]
    if path.exists() and max(ends, default=0) < path.stat().st_size:
        os.truncate(path, max(ends, default=0))


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
