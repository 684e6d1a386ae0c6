"""Draw the lesson's pictures and its page, or follow a prior through both detectors.

python -m lesson                       # all pictures and numbers; first trains two detectors, once
python -m lesson object 6              # the priors that overlap this object most
python -m lesson prior 6634            # everything that happens to a prior of SSD300
python -m lesson prior 150 110 60      # the prior that is most like this x, y and side in pixels
python -m lesson prior 6634 --image 3  # the prior on another validation image
python -m lesson prior 6634 --quick    # of detectors trained in minutes, which know little
python -m lesson page                  # page.html alone: the example's numbers, to touch
python -m lesson exercises             # which exercises are solved, what is wrong with others
python -m lesson exercises iou         # more about one of them
python -m lesson clinic 3              # a run with a bug in it; name the file and the line
python -m lesson clinic 3 ssd.py 12    # whether it is there; --answer says where, and why
"""

from pathlib import Path

from data.text import UserError
from lesson.diagnose import exercises
from lesson.draw_clinic import clinic_numbers
from lesson.draw_detections import (
    draw_curve,
    draw_nms,
    draw_pyramid,
    draw_strip,
    level_name,
    receptive_fields,
)
from lesson.draw_log import draw_log
from lesson.draw_page import draw_page
from lesson.draw_priors import draw_cells, draw_delta, draw_fit, draw_matching
from lesson.draw_settings import draw_settings
from lesson.draw_training import (
    draw_augmentation,
    draw_cumulative,
    draw_imbalance,
    draw_mining,
)
from lesson.example import IMAGE, NAMES, look, val_dataset
from lesson.microscope import follow
from lesson.network import network_numbers
from lesson.runs import RETINANET, SSD, run_folder, snapshots
from lesson.style import in_style
from lesson.text import example_numbers, paper_numbers, refresh, save_numbers
from lesson.visit import visit
from utils import parallel
from utils.evaluation.evaluate import best_operating_points, detect_all
from utils.evaluation.metrics import compute_metrics
from utils.options import Parser
from utils.stop import run_script

CURVE_CLASS = "triangle"  # the hardest of the three classes


def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "what",
        nargs="*",
        help="prior, and its number or its x, y and side; object, and its number; exercises, and a "
        "name; clinic, the number of a patient, and a guess; or page",
    )
    parser.add_argument(
        "--image", type=int, default=IMAGE, help="the number of the validation image"
    )
    parser.add_argument("--quick", action="store_true", help="train a tenth as long")
    parser.add_argument("--answer", action="store_true", help="say where a patient's bug is")
    parser.add_argument("--train", action="store_true", help="train a patient")
    flags = parser.parse()
    if flags.what[:1] in (["prior"], ["object"]):
        count = len(val_dataset("ssd"))
        if not 0 <= flags.image < count:
            raise UserError(f"--image {flags.image}: the validation images are 0 to {count - 1}")
        lines = follow(*flags.what[:1], flags.what[1:], flags.image, flags.quick)
        print(*lines, sep="\n")
        return
    if flags.what[:1] == ["exercises"] and len(flags.what) < 3:
        print(*exercises(*flags.what[1:]), sep="\n")
        return
    if flags.what[:1] == ["clinic"]:
        print(*visit(flags.what[1:], flags.answer, flags.train), sep="\n")
        return
    if flags.what == ["page"]:
        print(f"written: {draw_page({name: snapshots(name) for name in NAMES})}")
        return
    if flags.what:
        raise UserError(
            f"{flags.what[0]}: type prior, object or clinic and a number, exercises, page, or "
            "nothing to draw all pictures"
        )
    draw_all()


@in_style
def draw_all():
    """Draw every picture, and renew numbers.json and the numbers and code in the text."""
    numbers = paper_numbers() | network_numbers() | cheap_pictures()
    retinanets = snapshots("retinanet")
    ssds = snapshots("ssd")
    last = retinanets[max(retinanets)]
    numbers |= draw_cumulative(retinanets) | draw_mining(ssds)
    numbers |= draw_pyramid(last) | draw_nms(last) | draw_strip(retinanets)
    numbers |= example_numbers("retinanet", last) | example_numbers("ssd", ssds[max(ssds)])
    (p3,) = [i for i, level in enumerate(last.levels) if level_name(level) == "P3"]
    smallest, largest = receptive_fields(last, p3)
    numbers |= {"field.smallest": f"{smallest}", "field.largest": f"{largest}"}
    numbers |= evaluate_best() | {
        "run.iterations": f"{max(retinanets)}",
        "run.ssd_iterations": f"{max(ssds)}",
        "run.ssd_images": f"{max(ssds) * SSD.batch}",
    }
    save_numbers(numbers)
    refresh(numbers)
    draw_page(dict(retinanet=retinanets, ssd=ssds))
    print(f"drawn: {len(list(Path(__file__).parent.glob('pictures/*.png')))} pictures")


@in_style
def cheap_pictures():
    """Draw the pictures that need no training -> numbers."""
    height, width = look("retinanet").image.shape[:2]
    numbers = {"example.image": f"{IMAGE}", "example.size": f"{width} x {height}"}
    for draw in (
        draw_cells,
        draw_delta,
        draw_matching,
        draw_imbalance,
        draw_augmentation,
        draw_fit,
        draw_log,
        draw_settings,
        clinic_numbers,
    ):
        numbers |= draw()
    return numbers


def evaluate_best():
    """Evaluate the trained RetinaNet, and draw the curve of a class -> numbers."""
    dataset = val_dataset("retinanet")
    models = snapshots("retinanet")
    device = parallel.start("cpu")
    recipe = RETINANET | dict(workers=0, precision="float32")
    found = detect_all(models[max(models)], dataset, recipe, device)
    _, _, matches = compute_metrics("coco", dataset.classes, dataset.records, found)
    point, by_class = best_operating_points(matches)
    return draw_curve(matches[CURVE_CLASS], CURVE_CLASS, by_class[CURVE_CLASS]) | {
        "run.threshold": f"{point.threshold:.2f}",
        "run.folder": run_folder("retinanet").name,
    }


if __name__ == "__main__":
    run_script(main)
