"""The lesson's text: the numbers in it, computed by the code that it explains, and quoted code.

A number stands before its name, as in `8,732<!--cells.ssd300.priors-->`, several in parentheses; a
function is quoted below a line such as `<!--code layers/boxes.py iou-->`, and how it differs from
step to step below `<!--difference step3_priors step4_hard_negatives compute_loss-->`.
"""

import ast
import difflib
import json
import math
import re
from pathlib import Path

import retinanet
import ssd
from data.transforms import FULL_STRENGTH_PASSES
from layers.boxes import CENTRE_SCALE, SIZE_SCALE
from layers.priors import level_counts
from lesson.draw_log import log_table
from lesson.draw_priors import PAPER_SIZES
from lesson.draw_training import EASY
from lesson.example import EXAMPLE, look, predictions, was_kept
from lesson.network import network_table
from utils.evaluation.metrics import RECALLS
from utils.recipes import RECIPES

COCO_CLASSES = 80
ROOT = Path(__file__).parent.parent
README = Path(__file__).parent / "README.md"
NUMBERS_FILE = Path(__file__).parent / "numbers.json"
NAMED_NUMBER = re.compile(r"(\([^()]*\)|\d+\sx\s\d+|[^\s(]+)<!--([\w.]+)-->")
QUOTED_DIFFERENCE = re.compile(r"<!--difference (\S+) (\S+) (\w+)-->\n```diff\n(.*?)```\n", re.S)
TABLE = re.compile(r"<!--table (\w+)-->\n(?:\|.*\n)*")
QUOTED_CODE = re.compile(r"<!--code (\S+) (\w+)-->\n```python\n(.*?)```\n", re.S)


def paper_numbers():
    """The numbers that follow from the papers and from our constants: name -> text."""
    probability = retinanet.PRIOR_PROBABILITY
    ssd300 = RECIPES["ssd300_voc"]
    coco = RECIPES["retinanet_coco"]
    alpha = coco.focal_alpha
    gamma = coco.focal_gamma
    logits = sum(level_counts(PAPER_SIZES["RetinaNet"], retinanet.prior_levels())) * COCO_CLASSES
    rare = -math.log(1 - probability)  # the cost of a background prior with this probability
    turned_down = (1 - alpha) * 0.5**gamma * math.log(2)
    return {
        "paper.probability": f"{probability:g}",
        "paper.bias": f"{-math.log((1 - probability) / probability):.2f}",
        "paper.alpha": f"{alpha:g}",
        "paper.gamma": f"{gamma:g}",
        "paper.negatives": f"{ssd300.negatives_per_positive}",
        "paper.ssd_start": f"{(1 + 3) * math.log(1 + 20):.2f}",
        "paper.classes": f"{COCO_CLASSES}",
        "paper.even_start": f"{logits * math.log(2):,.0f}",
        "paper.rare_start": f"{logits * rare:,.0f}",
        "paper.focal_even_start": f"{logits * turned_down:,.0f}",
        "paper.focal_start": f"{logits * (1 - alpha) * probability**gamma * rare:,.0f}",
        "paper.focal_easy": f"{(1 - alpha) * EASY**gamma * -math.log(1 - EASY):.5f}",
        "paper.ssd_positive": f"{ssd300.positive_iou:g}",
        "paper.positive": f"{coco.positive_iou:g}",
        "paper.negative": f"{coco.negative_iou:g}",
        "paper.centre_scale": f"{CENTRE_SCALE:g}",
        "paper.size_scale": f"{SIZE_SCALE:g}",
        "paper.ssd_smallest": f"{ssd.SIZES[300][0]}",
        "paper.retinanet_smallest": f"{retinanet.SIZES[8][0]}",
        "paper.ssd_second": f"{ssd.SIZES[300][1]}",
        "paper.retinanet_largest": f"{retinanet.SIZES[8][-1]}",
        "paper.retinanet_very_largest": f"{retinanet.SIZES[8][-1] * retinanet.SCALES[-1]:.0f}",
        "paper.recalls": f"{len(RECALLS['coco'])}",
        "paper.passes": f"{FULL_STRENGTH_PASSES}",
        "paper.ssd_nms": f"{ssd300.nms_iou:g}",
        "paper.nms": f"{coco.nms_iou:g}",
        "paper.topk": f"{coco.pre_nms_topk:,}",
        "paper.max_detections": f"{coco.max_detections}",
        "paper.threshold": f"{coco.score_threshold:g}",
    }


def example_numbers(name, model):
    """What a model predicts for the example object, and what that costs: name -> text."""
    view = look(name)
    prediction = predictions(view, model)
    row = view.best_prior(EXAMPLE)
    logits = ", ".join(f"{value:.2f}" for value in prediction.logits[row].tolist())
    deltas = ", ".join(f"{value:+.2f}" for value in prediction.deltas[row].tolist())
    decoded = ", ".join(f"{side:.0f}" for side in prediction.decoded[row].tolist())
    label = int(view.labels[row])
    return {
        f"{name}.logits": logits,
        f"{name}.predicted_deltas": deltas,
        f"{name}.decoded": decoded,
        f"{name}.score": f"{prediction.scores[row, label]:.2f}",
        f"{name}.class_cost": f"{prediction.class_costs[row]:.3f}",
        f"{name}.box_cost": f"{prediction.box_costs[row]:.3f}",
        f"{name}.class": view.classes[label],
        f"{name}.kept": "yes" if was_kept(view, model, prediction, row) else "no",
    }


def save_numbers(numbers):
    """Write numbers.json, sorted by name."""
    NUMBERS_FILE.write_text(json.dumps(dict(sorted(numbers.items())), indent=1) + "\n")


def load_numbers():
    """The numbers in numbers.json: name -> text."""
    return json.loads(NUMBERS_FILE.read_text())


def fill_numbers(text, numbers):
    """The text with every named number as it is in numbers."""

    def fill(found):
        old, name = found.groups()
        new = f"({numbers[name]})" if old.startswith("(") else numbers[name]
        # A number that has not changed keeps the line breaks within it.
        is_same = old.split() == new.split()
        return f"{old if is_same else new}<!--{name}-->"

    return NAMED_NUMBER.sub(fill, text)


def fill_code(text):
    """The text with every quoted function as it is now."""

    def fill(found):
        path, name, _ = found.groups()
        return f"<!--code {path} {name}-->\n```python\n{quote(path, name)}\n```\n"

    return QUOTED_CODE.sub(fill, text)


def fill_differences(text):
    """The text with every quoted difference between two steps as it is now."""

    def fill(found):
        before, after, name, _ = found.groups()
        heading = f"<!--difference {before} {after} {name}-->"
        return f"{heading}\n```diff\n{difference(before, after, name)}\n```\n"

    return QUOTED_DIFFERENCE.sub(fill, text)


def difference(before, after, name):
    """How a function of one step became that of another, - for its old lines and + for new ones."""
    lines = []
    for step in (before, after):
        path = f"lesson/steps/{step}.py"
        is_there = re.search(rf"^ *(def|class) {name}\b", (ROOT / path).read_text(), re.M)
        lines.append(quote(path, name).splitlines() if is_there else [])
    marked = difflib.unified_diff(*lines, n=1, lineterm="")
    return "\n".join(line for line in marked if not re.match(r"---|\+\+\+|@@", line))


def fill_tables(text):
    """The text with every table as it is now: of networks, and of a log."""
    tables = dict(log=log_table)

    def fill(found):
        name = found[1]
        table = tables[name]() if name in tables else network_table(name)
        return f"<!--table {name}-->\n{table}\n"

    return TABLE.sub(fill, text)


def quote(path, name):
    """The lines of a function or a class, without its docstring."""
    source = (ROOT / path).read_text()
    # Of several methods of one name, the last is that of the class which the module is about.
    *_, function = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name
    ]
    lines = source.splitlines()
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = first.end_lineno if has_docstring else first.lineno - 1
    if not lines[body].strip():
        body += 1
    head = lines[function.lineno - 1 : (first.lineno - 1)]
    indent = function.col_offset
    return "\n".join(line[indent:] for line in head + lines[body : function.end_lineno])


def refresh(numbers):
    """Write these numbers, and quoted functions, differences and tables as they are now, into
    README.md."""
    text = fill_numbers(README.read_text(), numbers)
    README.write_text(fill_tables(fill_differences(fill_code(text))))
