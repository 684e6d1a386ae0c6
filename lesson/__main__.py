"""Draw the lesson's pictures, or follow one prior through both detectors.

python -m lesson                       # all pictures and numbers; trains two detectors first, once
python -m lesson prior 6634            # everything that happens to a prior of SSD300
python -m lesson prior 150 110 60      # to the one nearest to this x, y and side in pixels
python -m lesson prior 6634 --image 3  # on another validation image
"""

from pathlib import Path

from data.text import UserError
from lesson.draw_priors import draw_cells, draw_delta, draw_fit, draw_matching
from lesson.draw_training import (
    draw_augmentation,
    draw_cumulative,
    draw_curve,
    draw_imbalance,
    draw_mining,
    draw_nms,
    draw_pyramid,
    draw_strip,
    level_name,
    receptive_field,
)
from lesson.example import IMAGE, look, val_dataset
from lesson.microscope import follow
from lesson.runs import RETINANET, run_folder, snapshots
from lesson.text import example_numbers, paper_numbers, refresh, save_numbers
from utils import parallel
from utils.evaluation.evaluate import best_operating_points, detect_all
from utils.evaluation.metrics import match_detections
from utils.options import Parser
from utils.stop import run_script

CURVE = "triangle"  # the class of the curve, the hardest of the three


def main():
    parser = Parser(__doc__)
    parser.add_argument("what", nargs="*", help="prior, and its number or x, y and side")
    parser.add_argument("--image", type=int, default=IMAGE, help="number of the validation image")
    flags = parser.parse()
    if flags.what[:1] == ["prior"]:
        if not 0 <= flags.image < len(val_dataset("ssd")):
            raise UserError(f"--image {flags.image}: there are 200 validation images, from 0")
        print(*follow(flags.what[1:], flags.image), sep="\n")
        return
    if flags.what:
        raise UserError(f"{flags.what[0]}: only prior can be followed; nothing draws all pictures")
    draw_all()


def draw_all():
    """Every picture, numbers.json, and the numbers and code in the text."""
    numbers = paper_numbers() | cheap_pictures()
    retinanets, ssds = snapshots("retinanet"), snapshots("ssd")
    last = retinanets[max(retinanets)]
    numbers |= draw_cumulative(retinanets) | draw_mining(ssds)
    numbers |= draw_pyramid(last) | draw_nms(last) | draw_strip(retinanets)
    numbers |= example_numbers("retinanet", last) | example_numbers("ssd", ssds[max(ssds)])
    for number, level in enumerate(last.levels[:3]):
        name = level_name(level).lower()
        numbers[f"field.{name}"] = f"{receptive_field(last, number)}"
    numbers |= evaluate_best() | {
        "run.iterations": f"{max(retinanets)}",
        "run.ssd_iterations": f"{max(ssds)}",
    }
    save_numbers(numbers)
    refresh(numbers)
    print(f"drawn: {len(list(Path(__file__).parent.glob('pictures/*.png')))} pictures")


def cheap_pictures():
    """The pictures that need no training -> numbers."""
    height, width = look("retinanet").image.shape[:2]
    numbers = {"example.image": f"{IMAGE}", "example.size": f"{width} x {height}"}
    pictures = (draw_cells, draw_delta, draw_matching, draw_imbalance, draw_augmentation, draw_fit)
    for draw in pictures:
        numbers |= draw()
    return numbers


def evaluate_best():
    """Detect on all validation images, draw the curve of a class -> numbers."""
    dataset, models = val_dataset("retinanet"), snapshots("retinanet")
    device = parallel.start("cpu")
    recipe = RETINANET | dict(workers=0, precision="float32")
    found = detect_all(models[max(models)], dataset, recipe, device)
    matches = match_detections(dataset.classes, dataset.records, found)
    point, by_class = best_operating_points(dataset.classes, dataset.records, found)
    return draw_curve(matches[CURVE], CURVE, by_class[CURVE]) | {
        "run.threshold": f"{point.threshold:.2f}",
        "run.folder": run_folder("retinanet").name,
    }


if __name__ == "__main__":
    run_script(main)
