"""What surrounds the training loop: the run's folder, its log, its checkpoints, and how it stops without losing any."""
import json
import math
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from data.errors import UserError
from utils import checkpoint, parallel
from utils.files import write
from utils.guard import Guard
from utils.log import Log
from utils.schedule import Plateau, learning_rate
from utils.stop import Stop


class Run:
    """One training run in its folder, from the first iteration or from that of the checkpoint content `resume` on."""

    def __init__(self, folder, recipe, model, optimizer, dataset, per_epoch, resume=None):
        self.folder, self.recipe, self.model, self.optimizer = folder, recipe, model, optimizer
        self.classes, self.guard = dataset.classes, Guard(model, optimizer, recipe.clip, dataset.records.path)
        self.clip = self.guard.clip
        self.per_epoch, self.plateau = per_epoch, Plateau(recipe, per_epoch)
        average = get_ema_multi_avg_fn(recipe.ema)
        self.ema = AveragedModel(model, multi_avg_fn=average, use_buffers=True) if recipe.ema else None
        self.done, self.best, self.stale = 0, -1.0, 0
        if resume:
            self.restore(resume)
        self.log = Log(folder, recipe, per_epoch, self.done, silent=parallel.rank() > 0)
        self.stop = Stop()
        self.result = None  # the last evaluation's
        if parallel.rank() == 0:
            content = asdict(recipe) | dict(classes=list(self.classes))
            write(folder / "recipe.json", json.dumps(content, indent=1), replace=True)

    @property
    def shown(self):
        """The model that is judged and kept."""
        return self.ema.module if self.ema else self.model

    def iterations(self, loader):
        """(iteration, parts of its batch) for each that is still to be done, until somebody or --patience says stop."""
        batches = self.log.watch(loader)
        while self.done < self.recipe.iterations and not self.stop and not self.satisfied:
            iteration = self.done + 1
            yield iteration, [next(batches) for _ in range(self.recipe.accumulate)]
            self.done = iteration

    @property
    def satisfied(self):
        return 0 < self.recipe.patience <= self.stale

    def rate(self, iteration):
        """The learning rate of the iteration, from now on the optimizer's."""
        rate = learning_rate(iteration, self.recipe) * self.plateau.factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def stepped(self, iteration, parts, box_loss, class_loss, gradient, rate):
        """Note what an iteration was like. One that was not finite ends the run; its step was not made."""
        values = dict(box_loss=box_loss, class_loss=class_loss, gradient=gradient, lr=rate)
        self.guard.note(iteration, [target["index"] for _, targets in parts for target in targets], values)
        recipe = self.recipe
        if gradient.is_cpu or any(self.due(iteration, every) for every in (recipe.log_every, recipe.eval_every)):
            self.guard.insist()
        if self.ema:
            self.ema.update_parameters(self.model)
        box_loss, class_loss = parallel.mean(torch.stack([box_loss, class_loss]))
        self.plateau.note(iteration, box_loss + class_loss)
        self.log.step(iteration, box_loss=box_loss, class_loss=class_loss, gradient=gradient, lr=rate)
        self.stop.agree()

    def due(self, iteration, every):
        """Whether it is time for something that is done every so many iterations and after the last."""
        return iteration % every == 0 or iteration == self.recipe.iterations

    def judged(self, iteration, average, picture):
        """Note an evaluation's result, and keep the weights if they are the best so far."""
        self.result = result = next(iter(average.values()))
        first, self.stale = self.best < 0, self.stale + 1
        # Without any object to find there is no result, and the first weights remain the best.
        if first or result > self.best:
            self.best, self.stale = 0.0 if math.isnan(result) else result, 0
        if parallel.rank() == 0:
            self.log.metrics(iteration, average, picture)
            if self.stale == 0:
                checkpoint.save(self.folder / "best.pth", self.detector(iteration))

    def detector(self, iteration):
        return checkpoint.detector(self.shown, self.recipe, self.classes) | dict(iteration=iteration)

    def save(self, iteration):
        """last.pth: everything that is needed to go on from here. The one before it stays as previous.pth."""
        self.guard.insist()
        if parallel.rank() > 0:
            return
        content = self.detector(iteration) | dict(
            optimizer=self.optimizer.state_dict(), random=torch.get_rng_state(), best=self.best, stale=self.stale,
            epoch=iteration // self.per_epoch, plateau=self.plateau.state_dict())
        if self.ema:
            content |= dict(ema=self.ema.state_dict(), training=self.model.state_dict())
        last, previous = self.folder / "last.pth", self.folder / "previous.pth"
        with suppress(OSError):
            previous.unlink(missing_ok=True)
            os.link(last, previous)
        checkpoint.save(last, content)
        if self.recipe.keep and iteration % self.recipe.save_every == 0:
            checkpoint.save(self.folder / f"iteration_{iteration:07d}.pth", content)
            for old in sorted(self.folder.glob("iteration_*.pth"))[:-self.recipe.keep]:
                old.unlink()

    def restore(self, content):
        """Put everything back where the checkpoint left it."""
        if "optimizer" not in content:
            raise UserError("this checkpoint holds no optimizer to go on with: resume from last.pth")
        self.model.load_state_dict(content.get("training", content["model"]))
        self.optimizer.load_state_dict(content["optimizer"])
        self.plateau.load_state_dict(content["plateau"])
        if self.ema:
            self.ema.load_state_dict(content["ema"])
        torch.set_rng_state(content["random"])
        self.done, self.best, self.stale = content["iteration"], content["best"], content["stale"]

    def finish(self):
        """Draw the curves and say where everything lies -> the exit code."""
        self.log.close()
        self.stop.over()
        if self.stop:
            print(f"stopped after iteration {self.done}; go on with: "
                  f"python train.py --resume {self.folder / 'last.pth'}")
            return 128 + self.stop.signal
        if self.satisfied:
            print(f"stopped after iteration {self.done}: {self.stale} evaluations without a better result")
        print(f"curves       {self.folder / 'curves.png'}\ncheckpoint   {self.folder / 'best.pth'}")
        return 0


def new_folder(parent, name, default):
    """The folder of a new run, which never writes into an old one's.

    name is the user's, or None: then it is the default with the first number that is free.
    """
    folder, number = parent / (name or default), 2
    if name and any(folder.glob("*.pth")):
        raise UserError(f"{folder} holds a run: go on with --resume --name {name}, or choose another --name")
    if name and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} holds other files, and a run begins in a new folder: choose another --name")
    while folder.is_dir() and any(folder.iterdir()):
        folder, number = parent / f"{default}-{number}", number + 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "no permission to write")
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); choose another --save-folder") from None
    return folder


def checkpoint_to_resume(parent, name, path):
    """The checkpoint that was named; without a name the last one of the run, or of the latest run."""
    if path:
        return Path(path)
    found = sorted(parent.glob(f"{name or '*'}/last.pth"), key=os.path.getmtime)
    if not found:
        raise UserError(f"nothing to resume: no {parent / (name or '*') / 'last.pth'}")
    return found[-1]
