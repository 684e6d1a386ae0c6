"""What a run of the clinic shows of itself: its curves, and what its last weights detect.

A patient's copy of the project runs it, for its own code must read the images and detect:

python -m lesson.symptoms weights/clinic_3       # writes symptoms.json there
"""

import json
import sys
from itertools import islice
from pathlib import Path

from data.reading import read_records
from published.load import load_detector
from utils import parallel
from utils.build import make_datasets
from utils.evaluation.evaluate import evaluate, with_errors
from utils.log import read_log

IMAGES = (71, 96, 123)  # the validation images that are shown
SHOWN = 0.3  # the lowest score of a detection that is shown
FEW = 3  # detections to show where no score is high enough
CURVES = ("box_loss", "class_loss")


def main(folder):
    detector = load_detector(folder / "last.pth")
    recipe = detector.recipe
    _, dataset = make_datasets(recipe, *read_records(recipe))
    evaluation = evaluate(detector.model, dataset, recipe, parallel.start("cpu"))
    evaluation = with_errors(evaluation, dataset)
    breakdown = evaluation.breakdown
    symptoms = curves(read_log(folder / "log.jsonl")) | dict(
        AP50=round(breakdown["AP50"], 3),
        costs={kind: round(cost, 3) for kind, cost in breakdown["costs"].items()},
        images=[what_is_shown(dataset, evaluation.detections, index) for index in IMAGES],
    )
    (folder / "symptoms.json").write_text(json.dumps(symptoms) + "\n")


def curves(entries):
    """The losses of every iteration, from the entries of a log."""
    steps = [entry for entry in entries if "lr" in entry]
    values = {name: [float(f"{entry[name]:.3g}") for entry in steps] for name in CURVES}
    return dict(iteration=[entry["iteration"] for entry in steps]) | values


def what_is_shown(dataset, detections, index):
    """The objects of an image, as (box, name), and its detections, as (box, name, score)."""
    _, target = dataset.read(index)
    found = detections[index]
    names = dataset.classes
    truth = zip(target["boxes"].tolist(), target["labels"].tolist())
    columns = zip(*(found[key].tolist() for key in ("boxes", "labels", "scores")))
    # Where no score is high enough, the best boxes say more than none.
    count = (found["scores"] >= SHOWN).sum() or FEW
    return dict(
        index=index,
        truth=[(box, names[label]) for box, label in truth],
        found=[
            ([round(side, 1) for side in box], names[label], round(score, 2))
            for box, label, score in islice(columns, count)
        ],
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
