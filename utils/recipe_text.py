"""A recipe in two lines: which of ours it is nearest to, and what differs."""

import shutil
import textwrap
from dataclasses import fields

from utils import conventions
from utils.build import SSD_SIDES
from utils.recipes import RECIPES

# What has no effect on an SSD, and what only one kind of schedule looks at.
RETINANET_ONLY = {
    "depth", "finest_stride", "channels", "head_convs", "head_norm", "prior_scales",
    "prior_probability", "frozen_norm", "resize", "jitter", "scale_jitter", "max_size",
    "box_loss", "focal_alpha", "focal_gamma",
}  # fmt: skip
SSD_ONLY = {"vgg_norm", "negatives_per_positive"}
MILESTONES_ONLY = {"milestones", "milestone_epochs"}


def describe_recipe(recipe):
    """The nearest of our recipes, and what differs from it; all of it is in recipe.json."""
    options = {name: differences(recipe, other) for name, other in RECIPES.items()}
    name = min(options, key=lambda name: len(options[name]))
    words = [f"{field}={value}" for field, value in options[name].items()]
    text = "  ".join([f"as {name} in utils/recipes.py", *(["but"] if words else []), *words])
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    return textwrap.fill(text, width=width, break_long_words=False, break_on_hyphens=False)


def differences(recipe, other):
    """The fields in which a recipe differs from another and that have an effect, as text."""
    without_effect = RETINANET_ONLY if recipe.model in SSD_SIDES else SSD_ONLY
    if recipe.schedule != "milestones":
        without_effect = without_effect | MILESTONES_ONLY
    values = {
        field.name: getattr(recipe, field.name)
        for field in fields(recipe)
        if getattr(recipe, field.name) != getattr(other, field.name)
        and field.name not in without_effect
    }
    if "base_priors" in values:
        values["base_priors"] = "the publisher's"
    if "conventions" in values:
        values["conventions"] = conventions.describe(recipe.conventions)
    return {name: str(value).replace("'", "").replace(", ", ",") for name, value in values.items()}
