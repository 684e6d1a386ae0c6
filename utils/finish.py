"""The report at the end of a training: what was reached, and what would reach more."""

import numpy as np

from data.dataset import Dataset
from utils import checkpoint, parallel
from utils.evaluation.advice import with_advice
from utils.evaluation.evaluate import conditions, evaluate, table, with_errors
from utils.evaluation.results import save_results
from utils.log import append_entry

MAX_TRAINING_IMAGES = 500  # that are evaluated


def report_training(recipe, folder, device, train_dataset, val_dataset, evaluation=None):
    """Print and save what a run has reached.

    evaluation is that of best.pth, or None where it has to be evaluated again.
    """
    best, last = folder / "best.pth", folder / "last.pth"
    if val_dataset is not None and best.exists():
        report_best(recipe, folder, device, train_dataset, val_dataset, evaluation)
    print(f"curves       {folder / 'curves.png'}")
    print(f"checkpoint   {best if best.exists() else last}")


def report_best(recipe, folder, device, train_dataset, val_dataset, evaluation):
    """Print what best.pth reaches, with advice, and save it in the run's folder."""
    path, log_path = folder / "best.pth", folder / "log.jsonl"
    detector = checkpoint.build_model(checkpoint.load(path), path)
    model, iteration = detector.model.to(device), detector.iteration
    if evaluation is None:
        evaluation = evaluate(model, val_dataset, recipe, device)
    subset = evenly_spaced(train_dataset, val_dataset, MAX_TRAINING_IMAGES)
    train_evaluation = with_errors(evaluate(model, subset, recipe, device), subset)
    if parallel.rank() > 0:
        return
    # How good a detector is on what it has seen tells whether it has seen too little, or too often.
    train_AP50 = train_evaluation.breakdown["AP50"]
    passes = iteration * recipe.batch / len(train_dataset)
    append_entry(log_path, dict(iteration=iteration, train_AP50=train_AP50, passes=passes))
    evaluation = with_advice(evaluation, val_dataset, recipe, log_path, (subset, train_evaluation))
    print(table(evaluation, val_dataset.records), "", sep="\n")
    described = conditions(val_dataset, "val", recipe, device, iteration)
    for path in save_results(folder, val_dataset, evaluation, described, replace=True):
        print(f"{path.stem:12} {path}")


def evenly_spaced(train_dataset, val_dataset, most):
    """As many training images as there are to validate on, seen as those are -> Dataset."""
    count = min(len(train_dataset), len(val_dataset), most)
    chosen = np.linspace(0, len(train_dataset) - 1, count).round().astype(int)
    records = train_dataset.records.subset(chosen)
    return Dataset(val_dataset.classes, records, val_dataset.transform, val_dataset.seed)
