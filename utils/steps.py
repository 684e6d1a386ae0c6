"""What is computed around a step of the optimizer: its learning rate, its size, and whether its
gradients are finite."""

import math

import torch

from data.text import UserError


def learning_rate(iteration, recipe):
    """The learning rate of iteration 1, 2, ...: it climbs to the recipe's during the warm-up, and
    drops at milestones or falls along half a cosine to almost zero.

    It depends on the iteration alone, so a resumed run has no state of it to restore.
    """
    lr = recipe.lr * min(1, iteration / max(recipe.warmup, 1))
    if recipe.lr_schedule == "cosine":
        progress = (iteration - 1) / recipe.iterations
        return lr * (1 + math.cos(math.pi * progress)) / 2
    if recipe.lr_schedule == "milestones":
        drops = sum(iteration > milestone for milestone in recipe.milestones)
        return lr * recipe.gamma**drops
    return lr


class Plateau:
    """A factor on the learning rate that drops when the mean loss of an epoch no longer falls, by
    the rule of torch's ReduceLROnPlateau.

    torch's own would set the learning rate itself, and that of the warm-up with it.
    """

    state = ("factor", "best", "stale_epochs", "sum", "count")

    def __init__(self, recipe, per_epoch):
        self.recipe, self.per_epoch = recipe, per_epoch
        self.factor = 1.0
        self.best = math.inf
        self.stale_epochs = 0
        self.sum, self.count = 0.0, 0  # of the losses of this epoch

    def update(self, iteration, loss):
        """Add the loss of an iteration; after the last one of an epoch, compare the mean. With any
        other schedule, the factor stays 1."""
        if self.recipe.lr_schedule != "plateau":
            return
        self.sum = self.sum + loss
        self.count += 1
        if iteration % self.per_epoch:
            return
        mean = float(self.sum) / self.count
        self.sum, self.count = 0.0, 0
        self.stale_epochs += 1
        if mean < self.best * (1 - 1e-4):
            self.best = mean
            self.stale_epochs = 0
        if self.stale_epochs > self.recipe.plateau_patience:
            self.factor *= self.recipe.gamma
            self.stale_epochs = 0

    def state_dict(self):
        return {name: float(getattr(self, name)) for name in self.state}

    def load_state_dict(self, state):
        # A run may be resumed with another schedule.
        for name in self.state if self.recipe.lr_schedule == "plateau" else ():
            setattr(self, name, float(state[name]))


class FiniteCheck:
    """Notices gradients that are not finite: on a CPU at once, on a GPU some iterations later,
    because reading a value makes the program wait for it.

    path(index) is the file of an image. scaler is the GradScaler, which skips steps in float16.
    """

    def __init__(self, path, scaler):
        self.path, self.scaler = path, scaler
        self.recent = []  # (iteration, images, values) since the last check

    def add(self, iteration, values, micro_batches):
        """Remember an iteration: its images, and its values, name -> number, with grad_norm."""
        indices = [target["index"] for _, targets in micro_batches for target in targets]
        self.recent.append((iteration, indices, values))

    def raise_if_nonfinite(self):
        """Raise a UserError if a gradient since the last check was not finite; it names the images
        of the first such iteration. This waits for the device."""
        recent, self.recent = self.recent, []
        norms = [values["grad_norm"] for _, _, values in recent]
        if not norms or torch.stack(norms).isfinite().all():
            return
        # The scaler skips steps until its scale is small enough, which is no error. Once it is
        # below 1, gradients would overflow without a scale, too.
        if self.scaler.is_enabled() and self.scaler.get_scale() >= 1:
            return
        iteration, indices, values = next(
            entry for entry in recent if not all(map(math.isfinite, entry[2].values()))
        )
        report = ", ".join(f"{name} {float(value):.3g}" for name, value in values.items())
        paths = ", ".join(self.path(index) for index in indices)
        raise UserError(
            f"the loss or its gradient is not finite at iteration {iteration}: {report}, "
            f"images {paths}; a lower --lr or a longer --warmup may help"
        )


def relative_step(optimizer):
    """How far the last step moved the weights, relative to their norm: |step| / |weights|.

    A hundredth or less is usual; over about 0.06, the learning rate is too high. Biases and
    normalisation, which begin at 0 and 1, do not count.
    """
    steps, weights = [], []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.ndim > 1 and parameter.grad is not None:
                steps.append(last_step(parameter, optimizer.state[parameter], group).norm())
                weights.append(parameter.detach().norm())
    if not steps:
        return torch.zeros(())
    step = torch.stack(steps).norm() / torch.stack(weights).norm()
    # It is not finite where a gradient was not, which FiniteCheck reports.
    return step.where(step.isfinite(), 0)


def last_step(parameter, state, group):
    """The last change of a parameter, up to its sign, and for AdamW without weight decay."""
    if "exp_avg" in state:
        mean_decay, square_decay = group["betas"]
        mean = state["exp_avg"] / (1 - mean_decay ** state["step"])
        square = state["exp_avg_sq"] / (1 - square_decay ** state["step"])
        return group["lr"] * mean / (square.sqrt() + group["eps"])
    momentum = state.get("momentum_buffer")
    return group["lr"] * (parameter.grad if momentum is None else momentum)
