"""Epochs in iterations."""


def in_iterations(recipe, num_images):
    """A recipe that counts in epochs, in iterations: an epoch is as many as the images fill."""
    if not recipe.epochs:
        return recipe
    per_epoch = max(num_images // recipe.batch, 1)
    milestones = tuple(epoch * per_epoch for epoch in recipe.milestone_epochs)
    return recipe | dict(
        iterations=recipe.epochs * per_epoch,
        epochs=0,
        milestone_epochs=(),
        milestones=milestones or recipe.milestones,
    )
