"""The learning rate of every iteration."""

import math


def learning_rate(iteration, recipe):
    """Of iterations 1, 2, ...: a linear warm-up, then drops at milestones, or half a cosine to
    zero."""
    lr = recipe.lr * min(1, iteration / max(recipe.warmup, 1))
    if recipe.schedule == "cosine":
        progress = (iteration - 1) / recipe.iterations
        return lr * (1 + math.cos(math.pi * progress)) / 2
    if recipe.schedule == "milestones":
        drops = sum(iteration > milestone for milestone in recipe.milestones)
        return lr * recipe.gamma**drops
    return lr


class Plateau:
    """A factor on the learning rate that drops when the mean loss of epochs no longer falls.

    It stays 1 for other schedules.
    """

    def __init__(self, recipe, per_epoch):
        self.recipe, self.per_epoch = recipe, per_epoch
        self.factor, self.best, self.stale_epochs, self.sum = 1.0, math.inf, 0, 0.0

    def update(self, iteration, loss):
        """Take the loss of an iteration into account; it is looked at when its epoch is over."""
        if self.recipe.schedule != "plateau":
            return
        self.sum = self.sum + loss
        if iteration % self.per_epoch:
            return
        mean, self.sum = float(self.sum) / self.per_epoch, 0.0
        self.stale_epochs += 1
        if mean < self.best * (1 - 1e-4):
            self.best, self.stale_epochs = mean, 0
        if self.stale_epochs > self.recipe.plateau_patience:
            self.factor, self.stale_epochs = self.factor * self.recipe.gamma, 0

    def state_dict(self):
        return dict(
            factor=self.factor, best=self.best, stale_epochs=self.stale_epochs, sum=float(self.sum)
        )

    def load_state_dict(self, state):
        self.factor, self.best = state["factor"], state["best"]
        self.stale_epochs, self.sum = state["stale_epochs"], state["sum"]
