"""The end of a training: what was reached, and where everything lies."""

import numpy as np

from data.dataset import Dataset
from data.errors import UserError
from utils import parallel
from utils.evaluation.advice import with_advice
from utils.evaluation.evaluate import conditions, evaluate, table, with_errors
from utils.evaluation.results import save_results

MANY = 500  # training images are enough to evaluate


def finish(run):
    """Say what was reached and where everything lies -> the exit code."""
    if run.saver.failure:
        raise UserError(
            f"{run.folder}: the last checkpoint could not be written ({run.saver.failure}); "
            f"what was trained after iteration {run.saver.last_iteration()} is lost"
        )
    last = run.folder / "last.pth"
    if run.stop:
        print(f"stopped after iteration {run.done}; go on with: python train.py --resume {last}")
        return 128 + run.stop.signal
    if run.early_stopped:
        print(
            f"stopped after iteration {run.done}: {run.stale} evaluations without a better result"
        )
    train = evaluate_training_images(run) if run.evaluation else None
    if run.evaluation and parallel.rank() == 0:
        described = conditions(run.val_dataset, "val", run.recipe, run.device, run.done)
        evaluation = with_advice(run.evaluation, run.val_dataset, run.recipe, run.log.path, train)
        print(table(evaluation, run.val_dataset.records), "", sep="\n")
        for path in save_results(run.folder, run.val_dataset, evaluation, described, replace=True):
            print(f"{path.stem:12} {path}")
    best = run.folder / "best.pth"
    print(f"curves       {run.folder / 'curves.png'}")
    print(f"checkpoint   {best if best.exists() else last}")
    return 0


def evaluate_training_images(run):
    """As many training images as there are to validate on -> the dataset and its Evaluation.

    How good a detector is on what it has seen tells whether it has seen too little, or too often.
    """
    records, val_dataset = run.train_records, run.val_dataset
    count = min(len(records), len(val_dataset), MANY)
    chosen = np.linspace(0, len(records) - 1, count).round().astype(int)
    dataset = Dataset(
        val_dataset.classes, records.subset(chosen), val_dataset.transform, val_dataset.seed
    )
    evaluation = evaluate(run.kept_model, dataset, run.recipe, run.device)
    if parallel.rank() == 0:
        evaluation = with_errors(evaluation, dataset)
        run.log.write(
            dict(
                iteration=run.done,
                train_AP50=evaluation.breakdown["AP50"],
                passes=run.done * run.recipe.batch / len(records),
            )
        )
    return dataset, evaluation
