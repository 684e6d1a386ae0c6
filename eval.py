"""Evaluate a checkpoint on a dataset.

python eval.py weights/retinanet_shapes/best.pth
python eval.py best.pth --dataset voc --root my/VOCdevkit --split val
python eval.py best.pth --images photos --annotations photos.json
python eval.py best.pth --split train --suspects                 # are the labels right?
"""

from pathlib import Path

from published.load import load_detector
from published.weights import checkpoint_path
from utils import options, parallel
from utils.build import eval_dataset
from utils.evaluation.advice import with_advice
from utils.evaluation.evaluate import conditions, evaluate, table
from utils.evaluation.results import RESULTS, save_results
from utils.evaluation.suspects import SUSPECTS, save_suspects
from utils.files import must_be_new, new_name
from utils.options import Parser
from utils.resolve import with_flags
from utils.stop import run_script


def main():
    flags = parse_flags()
    output = flags.output or new_name(folder_of(flags.checkpoint) / "eval")
    must_be_new(*(output / name for name in RESULTS + SUSPECTS))

    device = parallel.start(flags.device)
    detector = load_detector(flags.checkpoint)
    recipe = with_flags(detector.recipe, flags)
    # A single file of annotations that the user names is evaluated whole.
    is_whole = flags.annotations and not flags.val_annotations
    split = flags.split or ("all" if is_whole else "val")
    with parallel.rank0_first():
        dataset = eval_dataset(recipe, split, detector.classes)
    described = conditions(flags.checkpoint, dataset, split, recipe, device, detector.iteration)
    described["notes"] += options.without_effect(flags, recipe)
    for name, value in described.items():
        print("\n".join(value) if isinstance(value, list) else f"{name:16} {value}")

    evaluation = evaluate(detector.model.to(device), dataset, recipe, device)
    if parallel.rank() == 0:
        log_path = folder_of(flags.checkpoint) / "log.jsonl"
        evaluation = with_advice(evaluation, dataset, recipe, log_path)
        print("", table(evaluation, dataset.records), "", sep="\n")
        paths = save_results(output, dataset, evaluation, described)
        paths += save_suspects(output, dataset, evaluation) if flags.suspects else []
        for path in paths:
            print(f"{path.stem:16} {path}")


def parse_flags():
    parser = Parser(__doc__)
    parser.add_argument(
        "checkpoint",
        type=checkpoint_path,
        help="a run's folder, a file of weights or an ONNX file",
    )
    options.add_flags(parser, "data").description = "by default, that of the run"
    add = parser.add_argument_group("evaluation").add_argument
    add("--split", help="train, val, test or all (default: val, or all with --annotations alone)")
    add("--batch", "--batch-size", type=int, metavar="N", help="number of images at a time")
    add("--suspects", action="store_true",
        help="also list annotations that look wrong, the strangest first")  # fmt: skip
    add("--output", type=Path, metavar="FOLDER",
        help="new folder for the results (default: eval, beside the checkpoint)")  # fmt: skip
    options.add_device_flags(parser)
    return parser.parse()


def folder_of(checkpoint):
    """The folder of a checkpoint, which may be a folder itself."""
    return checkpoint if checkpoint.is_dir() else checkpoint.parent


if __name__ == "__main__":
    run_script(main)
