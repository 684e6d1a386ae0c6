"""A run's diary: log.jsonl, a progress bar, those who watch, and curves drawn from the diary."""
import json
import math
import time

from matplotlib.figure import Figure
from tqdm import tqdm

from utils.watch import watchers


class Log:
    """One JSON object a line in log.jsonl: the losses every so many iterations, metrics at each evaluation.

    Of several processes only the first writes; the others' log is silent.
    """

    def __init__(self, folder, recipe, per_epoch, start=0, silent=False):
        self.path, self.every, self.per_epoch, self.silent = folder / "log.jsonl", recipe.log_every, per_epoch, silent
        self.images, self.waited, self.clock, self.epoch = 0, 0.0, time.perf_counter(), []
        if silent:
            return
        self.watchers = watchers(recipe, folder.name)
        # What a stopped run did after its last checkpoint is about to happen again.
        kept = [entry for entry in read(self.path) if entry["iteration"] <= start]
        self.file = open(self.path, "w", encoding="utf-8")
        for entry in kept:
            self.write(entry)
        self.bar = tqdm(total=recipe.iterations, initial=start, unit="it", disable=None, dynamic_ncols=True)

    def watch(self, loader):
        """The loader's batches, while counting images and the seconds spent waiting for them."""
        asked = time.perf_counter()
        for images, targets in loader:
            self.waited += time.perf_counter() - asked
            self.images += len(images)
            yield images, targets
            asked = time.perf_counter()

    def step(self, iteration, **values):
        """Every so often, write the values; only then does anybody wait for a GPU to know them."""
        if self.silent:
            return
        self.bar.update(1)
        if iteration % self.every == 0:
            values = {name: float(value) for name, value in values.items()}
            seconds = time.perf_counter() - self.clock
            speed, share = self.images / seconds, self.waited / seconds
            self.write(dict(iteration=iteration) | values | dict(images_per_second=round(speed, 1),
                                                                 data_wait=round(share, 3)))
            self.show("loss", iteration, box_loss=values["box_loss"], class_loss=values["class_loss"])
            self.show("learning rate", iteration, lr=values["lr"])
            self.say(iteration, "  ".join(f"{name} {value:.3g}" for name, value in values.items())
                     + f"  {speed:.1f} images/s  waiting for data {share:.0%}")
            self.epoch.append(values["box_loss"] + values["class_loss"])
            self.restart()
        if iteration % self.per_epoch == 0 and self.epoch:
            self.show("loss of epochs", iteration // self.per_epoch, loss=sum(self.epoch) / len(self.epoch))
            self.epoch = []

    def metrics(self, iteration, average, picture):
        """The result of an evaluation, whose time is not training's; picture() draws the current detections."""
        self.write(dict(iteration=iteration, **{name: None if math.isnan(value) else value
                                                for name, value in average.items()}))
        first = dict(list(average.items())[:2])
        self.bar.write(f"iteration {iteration}: " + ", ".join(f"{name} {value:.3f}" for name, value in first.items()))
        self.show("average precision", iteration, **{name: value for name, value in first.items() if value == value})
        for watcher in self.watchers:
            watcher.picture("detections", picture())
        self.restart()

    def restart(self):
        self.images, self.waited, self.clock = 0, 0.0, time.perf_counter()

    def show(self, window, iteration, **values):
        for watcher in self.watchers:
            watcher.points(window, iteration, **values)

    def say(self, iteration, text):
        if self.bar.disable:
            print(f"iteration {iteration}: {text}", flush=True)
        else:
            self.bar.set_postfix_str(text, refresh=False)

    def write(self, entry):
        print(json.dumps(entry), file=self.file, flush=True)

    def close(self):
        if not self.silent:
            self.bar.close()
            self.file.close()
            draw_curves(self.path)


def read(path):
    """All entries of a log, none where there is no log; a line cut short is left out."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else ()
    return [json.loads(line) for line in lines if line.endswith("\n")]


def draw_curves(path):
    """curves.png beside the log: losses, learning rate and average precision over the iterations."""
    entries = read(path)
    panels = (("loss", ("box_loss", "class_loss")), ("learning rate", ("lr",)), ("precision", ("AP", "AP50", "mAP")))
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, len(panels)), panels):
        for name in names:
            points = [(entry["iteration"], entry[name]) for entry in entries if entry.get(name) is not None]
            if points:
                axes.plot(*zip(*points), label=name, marker="." if len(points) < 20 else None)
                axes.legend()
        axes.set(title=title, xlabel="iteration")
        axes.grid(alpha=0.3)
    figure.savefig(path.with_name("curves.png"), dpi=100)
