"""Draw the detections of a checkpoint on images and videos.

python detect.py weights/retinanet_shapes/best.pth data/shapes/val
python detect.py best.pth photo.jpg folder/ "more/*.png" clip.mp4 --output found
python detect.py best.pth 0                                       # camera 0, until Ctrl-C
python detect.py best.pth --annotations photos.json               # with the truth in white
python detect.py best.pth photos/ --labels yolo                   # a dataset, to be corrected
"""

import json
import sys
from pathlib import Path

from tqdm import tqdm

from data.reading import must_be_outside
from data.text import UserError
from data.write import WRITERS, write_dataset
from published.detector import Detector
from published.weights import checkpoint_path
from utils import options
from utils.build import eval_dataset
from utils.files import mark_as_own, must_be_new, new_name, write
from utils.media import Background, ImageInput, batches, named_files, open_inputs, read_ahead
from utils.options import Parser, dataset_of, given_fields
from utils.predict import coco_results, detected_records, image_numbers, plain_results
from utils.recipe import label
from utils.resolve import SOURCE, with_flags
from utils.stop import run_script

CHANGES = ("resize", "max_size")  # fields of the recipe that a flag may change


def main():
    flags = parse_flags()
    # A misspelt name is reported before the checkpoint is loaded.
    files = named_files(flags.inputs)
    given = given_fields(flags)
    changes = {name: given[name] for name in CHANGES if name in given}
    detector = Detector(
        flags.checkpoint,
        flags.device,
        flags.precision,
        flags.score_threshold,
        flags.classes,
        flags.max_detections,
        changes,
    )
    output = flags.output
    dataset = annotated_dataset(flags, detector, output)
    if not files and dataset is None:
        raise UserError("name images, folders, videos or the number of a camera")
    files = files or named_files(dataset.records.path(i) for i in range(len(dataset)))
    inputs = open_inputs(files, output, flags.every, truth_of(dataset))
    copies = (copy for source in inputs for copy in source.copies)
    must_be_new(flags.json, flags.coco_json, *copies)
    if flags.labels and not all(isinstance(source, ImageInput) for source in inputs):
        raise UserError("--labels is for images: save the frames of a video as images first")
    shown = f"shown: detections with a score of at least {detector.score_threshold:.2f}"
    print(*options.without_effect(flags, detector.recipe), shown, sep="\n")

    if not flags.labels:
        mark_as_own(output)
    # It is filled in place, so that Ctrl-C loses nothing.
    results = []
    try:
        for source in inputs:
            detect_input(source, detector, flags.batch, results, is_drawn=not flags.labels)
    except KeyboardInterrupt:
        print("stopped; all that was written until now is kept", file=sys.stderr)
    except (UserError, OSError):
        # If a copy cannot be written, keep what was detected until then.
        if results:
            write_results(flags, output, results, detector.classes, dataset)
        raise
    write_results(flags, output, results, detector.classes, dataset)
    done = "written" if flags.labels else "drawn"
    return report(results, inputs, f"{done} into {output}")


def detect_input(source, detector, batch, results, is_drawn):
    """Append (source, detections) of all frames of an input to results, and draw them if asked to.

    While the network works, the next frames are read, and the last ones drawn and written.
    """
    bar = tqdm(total=len(source) or None, unit=source.unit, disable=None)
    try:
        with bar, Background() as background:
            for frames in batches(read_ahead(source), batch):
                batch_detections = detector([frame.image for frame in frames])
                for frame, detections in zip(frames, batch_detections):
                    if is_drawn:
                        background.call(draw_and_save, detector, frame, detections)
                    results.append((frame.source, detections))
                bar.update(len(frames))
    finally:
        source.close()


def write_results(flags, output, results, classes, dataset):
    """Write the detections into the files, or as the dataset, that the flags ask for."""
    try:
        # The labels come first: their folder must be new, and the other files may lie in it.
        if flags.labels and results:
            records = detected_records(results, classes, dataset)
            write_dataset(output, flags.labels, classes, dict(all=records))
    finally:
        if flags.json:
            write(flags.json, json.dumps(plain_results(results), indent=1))
        if flags.coco_json:
            write(flags.coco_json, json.dumps(coco_results(results, classes, dataset)))


def report(results, inputs, what_was_done):
    """Print how many detections there are, and what could not be read. Returns the exit code."""
    count = sum(len(detections["scores"]) for _, detections in results)
    print(f"{count} detections, {what_was_done}" if results else "no image was read")
    problems = [problem for source in inputs for problem in source.problems]
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


def draw_and_save(detector, frame, detections):
    frame.save(detector.draw(frame.image, detections, frame.truth))


def annotated_dataset(flags, detector, output):
    """The dataset whose objects are drawn with the detections, or None if the user names none."""
    if dataset_of(flags) is None:
        for name in (*SOURCE, "val_share", "skip_bad", "split"):
            if getattr(flags, name) is not None:
                raise UserError(f"{label(name)}: name its dataset by --root or --annotations")
        return None
    recipe = with_flags(detector.recipe, flags)
    must_be_outside(output if flags.labels else None, recipe)
    return eval_dataset(recipe, flags.split or "all", detector.classes)


def truth_of(dataset):
    """Absolute path of an image -> its annotated (height, width), and the boxes [N, 4] of its
    objects."""
    if dataset is None:
        return {}
    records = dataset.records
    truth = {}
    for path, i in image_numbers(records).items():
        rows = records.objects(i)
        truth[path] = records.sizes[i].tolist(), records.boxes[rows][~records.ignore[rows]]
    return truth


def parse_flags():
    parser = Parser(__doc__)
    add = parser.add_argument
    add("checkpoint", type=checkpoint_path,
        help="a run's folder, a file of weights or an ONNX file")  # fmt: skip
    add("inputs", nargs="*", help="images, folders, globs, videos or the number of a camera")
    add("--output", type=Path, metavar="FOLDER",
        help="folder for the copies (default: a new one, detections)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="also write the detections into this new file")
    add("--coco-json", type=Path, metavar="FILE",
        help="the same in COCO's result format, which omits images without any")  # fmt: skip
    add("--labels", choices=tuple(WRITERS),
        help="instead of drawing, write the images and their detections as a dataset")  # fmt: skip
    add("--score-threshold", type=float, metavar="X",
        help="show detections with at least this score (default: that of the best F1)")  # fmt: skip
    add("--max-detections", type=int, metavar="N", help="show at most N detections of an image")
    add("--batch", "--batch-size", type=int, default=1, metavar="N",
        help="number of images at a time (default: 1)")  # fmt: skip
    add("--every", type=int, default=1, metavar="N",
        help="read only every N-th frame of a video (default: 1)")  # fmt: skip
    options.add_flags(parser, "data").description = "a dataset whose truth is drawn, too"
    add("--split", help="part of the dataset: train, val, test or all (default: all)")
    options.add_device_flags(parser)
    flags = parser.parse()
    for name in ("batch", "every", "max_detections"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    must_be_new(flags.json, flags.coco_json)
    must_be_new(flags.output if flags.labels else None)
    flags.output = flags.output or new_name(Path("detections"))
    for folder in map(Path, flags.inputs if flags.labels else ()):
        if folder.is_dir() and flags.output.resolve().is_relative_to(folder.resolve()):
            raise UserError(
                f"{flags.output} lies in {folder}, whose images would be copied into it: choose "
                "another --output"
            )
    return flags


if __name__ == "__main__":
    run_script(main)
