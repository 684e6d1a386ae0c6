"""The learning rate of every iteration."""
import math


def in_iterations(recipe, images):
    """A recipe that counts in epochs, in iterations, now that it is known how many images an epoch has."""
    if not recipe.epochs:
        return recipe
    per_epoch = max(images // recipe.batch, 1)
    milestones = tuple(epoch * per_epoch for epoch in recipe.milestone_epochs) or recipe.milestones
    return recipe | dict(iterations=recipe.epochs * per_epoch, epochs=0, milestone_epochs=(), milestones=milestones)


def learning_rate(iteration, recipe):
    """Of iterations 1, 2, ...: a straight climb for the warm-up, then drops at milestones, or half a cosine to zero."""
    climbed = min(1, iteration / max(recipe.warmup, 1))
    if recipe.schedule == "cosine":
        return recipe.lr * climbed * (1 + math.cos(math.pi * (iteration - 1) / recipe.iterations)) / 2
    if recipe.schedule == "plateau":
        return recipe.lr * climbed
    return recipe.lr * climbed * recipe.gamma ** sum(iteration > milestone for milestone in recipe.milestones)


class Plateau:
    """A factor on the learning rate that drops when the mean loss of epochs no longer falls; 1 for other schedules."""

    def __init__(self, recipe, per_epoch):
        self.recipe, self.per_epoch = recipe, per_epoch
        self.factor, self.best, self.waited, self.sum = 1.0, math.inf, 0, 0.0

    def note(self, iteration, loss):
        """The loss of an iteration. It is looked at when its epoch is over, and not before."""
        if self.recipe.schedule != "plateau":
            return
        self.sum = self.sum + loss
        if iteration % self.per_epoch == 0:
            mean, self.sum = float(self.sum) / self.per_epoch, 0.0
            self.best, self.waited = (mean, 0) if mean < self.best * (1 - 1e-4) else (self.best, self.waited + 1)
            if self.waited > self.recipe.plateau:
                self.factor, self.waited = self.factor * self.recipe.gamma, 0

    def state_dict(self):
        return dict(factor=self.factor, best=self.best, waited=self.waited, sum=float(self.sum))

    def load_state_dict(self, state):
        self.factor, self.best, self.waited, self.sum = (state[name] for name in ("factor", "best", "waited", "sum"))
