"""What surrounds the training loop: the run's folder, log, checkpoints, and how it stops."""

import json
import math
import signal
from contextlib import suppress
from dataclasses import asdict

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from data.errors import UserError
from utils import checkpoint, parallel
from utils.evaluation.evaluate import evaluate
from utils.evaluation.pictures import prediction_sheet
from utils.files import write
from utils.log import Log
from utils.run_folder import claim
from utils.run_state import restore, state_of
from utils.saver import Saver
from utils.schedule import Plateau, learning_rate
from utils.step_size import StepSize
from utils.stop import Stop


class Run:
    """One training run in its folder, from the first iteration on or from a checkpoint's.

    As a context manager, it saves what was trained, whatever ends the loop.
    """

    def __init__(
        self, folder, recipe, model, optimizer, guard, batches, val_dataset, device, resume=None
    ):
        self.folder, self.recipe, self.device = folder, recipe, device
        self.classes, self.val_dataset = batches.dataset.classes, val_dataset
        self.train_records = batches.dataset.records
        self.lock = claim(folder) if parallel.rank() == 0 else None
        self.model, self.optimizer, self.guard = model, optimizer, guard
        self.per_epoch = batches.per_epoch
        self.plateau = Plateau(recipe, self.per_epoch)
        self.ema = None
        if recipe.ema:
            average = get_ema_multi_avg_fn(recipe.ema)
            self.ema = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
        self.done, self.saved, self.best, self.stale = 0, 0, -1.0, 0
        self.evaluation = None  # the last one
        if resume:
            restore(self, resume)
        batches.start(self.done, parallel.rank(), parallel.world_size())
        if parallel.rank() == 0:
            content = asdict(recipe) | dict(classes=self.classes)
            write(folder / "recipe.json", json.dumps(content, indent=1), replace=True)
        self.saver = Saver(folder, recipe)
        self.log = Log(folder, recipe, self.per_epoch, self.done, silent=parallel.rank() > 0)
        self.step_size = StepSize(optimizer, recipe.log_every)
        self.stop = Stop()

    @property
    def kept_model(self):
        """The model that is evaluated and kept: the average of the weights, where there is one."""
        return self.ema.module if self.ema else self.model

    def iterations(self, loader):
        """(iteration, its micro-batches on the device), until the last or until something stops
        it."""
        batches = iter(self.log.watch(loader))
        while self.done < self.recipe.iterations and not self.stop and not self.early_stopped:
            iteration = self.done + 1
            micro_batches = [
                parallel.to_device(*next(batches), self.device)
                for _ in range(self.recipe.accumulate)
            ]
            # A dead loader process is noticed here, not by a signal in the middle of a step.
            with suppress(ValueError, AttributeError):
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.stop.busy = True
            yield iteration, micro_batches

    @property
    def early_stopped(self):
        return 0 < self.recipe.patience <= self.stale

    def set_lr(self, iteration):
        """Give the optimizer the learning rate of an iteration that begins."""
        self.lr = learning_rate(iteration, self.recipe) * self.plateau.factor
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.losses = torch.zeros(2, device=self.device)

    def add_losses(self, box_loss, class_loss):
        """Add a micro-batch's part of the iteration's losses."""
        self.losses += torch.stack([box_loss, class_loss]).detach()

    def after_step(self, iteration, micro_batches, grad_norm):
        """Note what an iteration was like. One that was not finite ends the run before its step."""
        box_loss, class_loss = self.losses
        values = dict(box_loss=box_loss, class_loss=class_loss, grad_norm=grad_norm, lr=self.lr)
        indices = [target["index"] for _, targets in micro_batches for target in targets]
        self.guard.remember(iteration, indices, values)
        recipe = self.recipe
        is_waiting = any(self.is_due(iteration, n) for n in (recipe.log_every, recipe.eval_every))
        if grad_norm.is_cpu or is_waiting:
            self.guard.raise_if_nonfinite()
        if self.ema:
            self.ema.update_parameters(self.model)
        self.done, self.stop.busy = iteration, False
        box_loss, class_loss = parallel.mean(self.losses)
        self.plateau.update(iteration, box_loss + class_loss)
        step = self.step_size.since_last_line(iteration)
        measured = dict(box_loss=box_loss, class_loss=class_loss, relative_step=step)
        self.log.step(iteration, **values | measured)
        self.stop.agree()
        if self.saver.should_try_again():
            self.save(iteration)

    def is_due(self, iteration, every):
        """Whether it is time for what is done every so many iterations and after the last."""
        return iteration % every == 0 or iteration == self.recipe.iterations

    def should_evaluate(self, iteration):
        return self.val_dataset is not None and self.is_due(iteration, self.recipe.eval_every)

    def should_save(self, iteration):
        return (
            self.is_due(iteration, self.recipe.save_every) or bool(self.stop) or self.early_stopped
        )

    def evaluate(self, iteration):
        """Evaluate the model, note the result, and keep the weights if they are the best so far."""
        evaluation = evaluate(self.kept_model, self.val_dataset, self.recipe, self.device)
        self.evaluation = evaluation
        result = next(iter(evaluation.metrics.values()))
        is_first = self.best < 0
        self.stale += 1
        # Without any object there is no result, and the first weights remain the best.
        if is_first or result > self.best:
            self.best, self.stale = 0.0 if math.isnan(result) else result, 0
        if parallel.rank() > 0:
            return
        threshold = evaluation.operation.threshold

        def make_picture():
            return prediction_sheet(self.val_dataset, evaluation.detections, threshold)

        self.log.evaluation(iteration, evaluation, make_picture)
        if self.stale == 0:
            facts = dict(
                show_threshold=None if math.isnan(threshold) else threshold,
                metrics=evaluation.metrics,
            )
            self.saver.write("best.pth", self.content(iteration) | facts)

    def content(self, iteration):
        content = checkpoint.detector_content(self.kept_model, self.recipe, self.classes)
        return content | dict(iteration=iteration)

    def save(self, iteration):
        """last.pth: everything that is needed to go on from here; the one before is
        previous.pth."""
        self.guard.raise_if_nonfinite()
        if parallel.rank() > 0:
            return
        self.stop.busy = True
        self.saver.save_last(self.content(iteration) | state_of(self, iteration), iteration)
        self.stop.busy = False
        self.saved = iteration

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        """Save what was trained since the last checkpoint, and give the signals back."""
        self.stop.ignore()
        lost_loader = isinstance(error, RuntimeError) and "DataLoader" in str(error)
        if kind is KeyboardInterrupt:
            self.stop.signal = self.stop.asked or signal.SIGINT
        if (kind is KeyboardInterrupt or lost_loader) and self.done > self.saved:
            self.save(self.done)
        self.log.close()
        self.stop.restore()
        if lost_loader and not self.stop.asked:
            raise UserError(
                f"a process that loads images died or stood still after iteration {self.done} (out "
                "of memory? try --workers 0); go on with: python train.py --resume "
                f"{self.folder / 'last.pth'}"
            ) from None
        return kind is KeyboardInterrupt or lost_loader
