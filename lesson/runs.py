"""The two runs that the lesson's pictures come from, and the weights they had on the way."""

import subprocess
import sys
from pathlib import Path

import torch

from data.text import UserError
from utils import checkpoint
from utils.build import build_detector
from utils.recipes import shapes, ssd300_shapes

ROOT = Path(__file__).parent.parent
SAVE_FOLDER = ROOT / "weights"
DATA = ROOT / "data/shapes"
# Those of `python train.py` and `python train.py --model ssd300`, with the weights on the way.
RETINANET = shapes | dict(save_every=280, keep_checkpoints=5)
SSD = ssd300_shapes | dict(save_every=200, keep_checkpoints=5)
RECIPES = dict(retinanet=RETINANET, ssd=SSD)
QUICK = 10  # times as short are the runs for those who will not wait


def lesson_recipe(name, quick=False):
    """The recipe of a detector's training, retinanet or ssd."""
    recipe = RECIPES[name]
    if quick:
        shorter = dict(iterations=recipe.iterations // QUICK, save_every=recipe.save_every // QUICK)
        recipe |= shorter
    return recipe


def run_folder(name, quick=False):
    """The folder of a detector's training, retinanet or ssd, which is done now if it was not."""
    folder = SAVE_FOLDER / (f"lesson_{name}_quick" if quick else f"lesson_{name}")
    recipe = lesson_recipe(name, quick)
    if not (folder / "snapshots").is_dir():
        print(f"training {folder.name}, once")
        resume = ["--resume"] if (folder / "last.pth").exists() else []
        start = ["--recipe", str(ROOT / f"lesson/recipe_{name}.py"), "--root", str(DATA)]
        if quick:
            start += ["--iters", str(recipe.iterations), "--save-every", str(recipe.save_every)]
        command = [sys.executable, str(ROOT / "train.py"), "--name", folder.name]
        command += ["--save-folder", str(SAVE_FOLDER), *(resume or start)]
        if subprocess.run(command, cwd=ROOT).returncode:
            raise UserError(f"the run {folder.name} was stopped; python -m lesson goes on with it")
        keep_weights(folder)
    return folder


def keep_weights(folder):
    """Keep only the weights of every periodic checkpoint, in snapshots/: a third of its size."""
    for path in sorted(folder.glob("iteration_*.pth")):
        content = checkpoint.load(path)
        kept = {key: content[key] for key in ("model", "recipe", "classes", "iteration")}
        checkpoint.save(folder / "snapshots" / path.name, kept)
    for path in folder.glob("iteration_*.pth"):
        path.unlink()


def snapshots(name, quick=False):
    """iteration -> the model after so many iterations, ready to predict."""
    folder = run_folder(name, quick)
    recipe = lesson_recipe(name, quick)
    models = {0: initial_model(name)}
    for path in sorted((folder / "snapshots").glob("*.pth")):
        loaded = checkpoint.build_model(checkpoint.load(path), path)
        models[loaded.iteration] = loaded.model
    if max(models) != recipe.iterations:
        raise UserError(f"{folder} was trained with another recipe; delete it to train again")
    return models


def initial_model(name, num_classes=3):
    """A detector with the random weights from which its training starts."""
    recipe = RECIPES[name]
    torch.manual_seed(recipe.seed)
    model, _ = build_detector(recipe, num_classes)
    return model.eval()
