"""The end of a training: what was reached, and where everything lies."""

from data.errors import UserError
from utils import parallel
from utils.evaluation import conditions, table, with_errors
from utils.results import save_results


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
    if run.evaluation and parallel.rank() == 0:
        described = conditions(run.val_dataset, "val", run.recipe, run.device, run.done)
        evaluation = with_errors(run.evaluation, run.val_dataset)
        print(table(evaluation, run.val_dataset.records), "", sep="\n")
        for path in save_results(run.folder, run.val_dataset, evaluation, described, replace=True):
            print(f"{path.stem:12} {path}")
    best = run.folder / "best.pth"
    print(f"curves       {run.folder / 'curves.png'}")
    print(f"checkpoint   {best if best.exists() else last}")
    return 0
