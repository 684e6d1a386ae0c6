"""Write page.html, on which every number of the example can be touched: one file, no network.

The page's JavaScript, in page/, computes from the numbers written here what layers/ computes, so
that sliders can change it.
"""

import ast
import base64
import copy
import json
from pathlib import Path

import torch
from torch.nn.utils import clip_grad_norm_

from lesson import style
from lesson.example import EXAMPLE, NAMES, look
from lesson.microscope import numbers_of_prior
from lesson.text import ROOT, quote
from utils.build import build_detector, build_optimizer
from utils.draw import embedded, encode_picture
from utils.steps import learning_rate

PARTS = Path(__file__).parent / "page"
PAGE = Path(__file__).parent / "page.html"
MAX_BYTES = 2_000_000
# What the page needs of a recipe, and may change.
SETTINGS = (
    "positive_iou", "negative_iou", "negatives_per_positive", "focal_alpha", "focal_gamma",
    "box_loss", "box_weight", "score_threshold", "nms_iou", "pre_nms_topk", "max_detections",
    "topk_per",
)  # fmt: skip
# A word of each line of train.py's loop that the page steps through.
STEPS = dict(
    lr="learning_rate",
    zero_grad="zero_grad",
    forward="network",
    loss="criterion",
    backward="backward",
    clip="clip_grad_norm_",
    step="scaler.step",
)


def draw_page(models, path=PAGE):
    """Write the page of both detectors.

    models: detector -> iteration -> model. The first and the last are shown, and the first makes
    one more step.
    """
    views = {name: look(name) for name in NAMES}
    height, width = views["retinanet"].image.shape[:2]
    page = dict(
        image=embedded(encode_picture(views["retinanet"].image, ".png"), ".png"),
        example=EXAMPLE,
        classes=views["ssd"].classes,
        colours=dict(
            levels=style.LEVELS, classes=style.CLASSES, positive=style.POSITIVE_COLOUR,
            ignored=style.IGNORED_COLOUR, background=style.BACKGROUND_COLOUR,
            object=style.OBJECT_COLOUR, lines=style.LINES,
        ),
        detectors={name: detector_numbers(views[name], models[name]) for name in NAMES},
    )  # fmt: skip
    return write_page(page, path)


def renew_page(path=PAGE):
    """Write the page again, with the code and the JavaScript of today around the same numbers."""
    start = '<script type="application/json" id="page">'
    _, _, rest = path.read_text().partition(start)
    return write_page(json.JSONDecoder().raw_decode(rest)[0], path)


def write_page(page, path):
    """Write a page of these numbers, and of the code that they come from."""
    places = {place for detector in page["detectors"].values() for _, place in detector["places"]}
    page["code"] = {place: quote(*place.split()) for place in sorted(places) if " " in place}
    page["train"] = quote_steps()
    text = (PARTS / "template.html").read_text()
    for name in ("style.css", "layers.js", "detector.js", "draw.js", "page.js"):
        text = text.replace(f"/* {name} */", (PARTS / name).read_text())
    # "</script>" in a string would end the script.
    text = text.replace("/* numbers */", json.dumps(page).replace("</", "<\\/"))
    path.write_text(text)
    return path


def detector_numbers(view, models):
    """What the page knows of a detector: its priors' shapes, its predictions, a step."""
    row = view.best_prior(EXAMPLE)
    lines = numbers_of_prior(view, models[min(models)], row)
    return dict(
        name=NAMES[view.name],
        size=view.image.shape[:2],
        padded_size=tuple(view.images.shape[-2:]),
        objects=view.targets[0]["boxes"].tolist(),
        object_labels=view.targets[0]["labels"].tolist(),
        levels=[dict(stride=level.stride, base_priors=level.base_priors) for level in view.levels],
        recipe={key: getattr(view.recipe, key) for key in SETTINGS},
        places=[(what, place) for what, _, place in lines],
        moments=[
            dict(iteration=iteration, **predicted(view, models[iteration]))
            for iteration in sorted({min(models), max(models)})
        ],
        step=take_step(view, models[min(models)], min(models) + 1),
    )


@torch.no_grad()
def predicted(view, model):
    """The predictions of a model for a View, as base64."""
    deltas, logits = model(view.images)
    return dict(deltas=as_float32(deltas), logits=as_float32(logits))


def take_step(view, model, iteration):
    """One iteration of train.py on the example image alone, with batch norm as in evaluation."""
    recipe = view.recipe
    model = copy.deepcopy(model)
    _, criterion = build_detector(recipe, len(view.classes))
    optimizer = build_optimizer(recipe, model)
    lr = learning_rate(iteration, recipe)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
    optimizer.zero_grad()
    outputs = model(view.images)
    for output in outputs:
        output.retain_grad()
    losses = criterion(*outputs, view.priors, view.targets)
    sum(losses).backward()
    grad_norm = clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
    optimizer.step()
    with torch.no_grad():
        after = model(view.images)
        losses_after = criterion(*after, view.priors, view.targets)
    numbers = dict(
        iteration=iteration,
        iterations=recipe.iterations,
        warmup=recipe.warmup,
        lr=lr,
        peak_lr=recipe.lr,
        optimizer=recipe.optimizer,
        num_weights=sum(parameter.numel() for parameter in model.parameters()),
        grad_norm=grad_norm.item(),
        max_grad_norm=recipe.max_grad_norm,
        losses=[loss.item() for loss in losses],
        losses_after=[loss.item() for loss in losses_after],
    )
    for name, output, new in zip(("delta", "logit"), outputs, after):
        numbers[f"{name}_gradients"] = as_bfloat16(output.grad)
        numbers[f"{name}_changes"] = as_bfloat16(new - output.detach())
    return numbers


def quote_steps():
    """step -> the statement of train.py's loop that makes it."""
    source = (ROOT / "train.py").read_text()
    (loop,) = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.While)]
    statements = [node for node in ast.walk(loop) if isinstance(node, (ast.Assign, ast.Expr))]
    texts = [ast.unparse(node) for node in statements]
    return {
        step: next(text for text in texts if f"{word}(" in text) for step, word in STEPS.items()
    }


def as_float32(tensor):
    """The numbers of a tensor as base64."""
    return base64.b64encode(tensor.float().numpy().tobytes()).decode()


def as_bfloat16(tensor):
    """The same with two digits of each number, which is enough to look at."""
    halves = tensor.to(torch.bfloat16).view(torch.int16)
    return base64.b64encode(halves.numpy().tobytes()).decode()
