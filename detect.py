"""Draw the detections of a checkpoint on images and videos.

python detect.py weights/retinanet_shapes/best.pth data/shapes/val
python detect.py best.pth photo.jpg folder/ "more/*.png" clip.mp4 --output found
python detect.py best.pth 0                                       # camera 0; Ctrl-C ends it
python detect.py best.pth --annotations photos.json               # beside the truth, in white
"""

import json
import sys
from pathlib import Path

from tqdm import tqdm

from data.text import UserError
from published.detector import Detector
from published.weights import checkpoint_path
from utils import options
from utils.build import eval_dataset
from utils.files import must_be_new, new_name, write
from utils.media import Background, batches, named_files, open_inputs, read_ahead
from utils.options import Parser
from utils.predict import coco_results, image_numbers, plain_results
from utils.resolve import given_fields, with_flags
from utils.stop import run_script

CHANGES = ("resize", "max_size")  # flags that change the checkpoint's recipe


def main():
    flags = parse_flags()
    must_be_new(flags.json, flags.coco_json)
    files = named_files(flags.inputs)  # what is mistyped is said before a checkpoint is read
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
    dataset = annotated_dataset(flags, detector)
    output = flags.output or new_name(Path("detections"))
    if not files:
        files = dataset_files(dataset)
    inputs = open_inputs(files, output, flags.every, truth_of(dataset))
    must_be_new(*(copy for source in inputs for copy in source.copies))
    print(f"shown: detections with a score of at least {detector.score_threshold:.2f}")

    found = []
    try:
        for source in inputs:
            detect_input(source, detector, flags.batch, found)
    except KeyboardInterrupt:
        print("stopped; what was written is kept", file=sys.stderr)
    if flags.json:
        write(flags.json, json.dumps(plain_results(found), indent=1))
    if flags.coco_json:
        write(flags.coco_json, json.dumps(coco_results(found, detector.classes, dataset)))
    count = sum(len(detections["scores"]) for _, detections in found)
    print(f"{count} detections, drawn into {output}")
    problems = [problem for source in inputs for problem in source.problems]
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


def detect_input(source, detector, batch, found):
    """Append (what it is, detections) of every frame of an input to found.

    The next frames are read and the last ones drawn and written while the network works.
    """
    bar = tqdm(total=len(source) or None, unit=source.unit, disable=None)
    try:
        with bar, Background() as background:
            for frames in batches(read_ahead(source), batch):
                results = detector([frame.image for frame in frames])
                for frame, detections in zip(frames, results):
                    background.call(draw_and_save, detector, frame, detections)
                    found.append((frame.source, detections))
                bar.update(len(frames))
    finally:
        source.close()


def draw_and_save(detector, frame, detections):
    frame.save(detector.draw(frame.image, detections, frame.truth))


def annotated_dataset(flags, detector):
    """The dataset whose objects are drawn beside the detections; None where none is named."""
    if not (flags.dataset or flags.root or flags.annotations):
        return None
    recipe = with_flags(detector.recipe, flags)
    return eval_dataset(recipe, flags.split or "all", detector.classes)


def dataset_files(dataset):
    """All images of the dataset, where no input was named."""
    if dataset is None:
        raise UserError("name images, folders, videos or a camera's number to look at")
    return named_files(dataset.records.path(i) for i in range(len(dataset)))


def truth_of(dataset):
    """Resolved path of an image -> its objects' boxes [N, 4]."""
    if dataset is None:
        return {}
    records = dataset.records
    return {path: records.boxes[records.objects(i)] for path, i in image_numbers(records).items()}


def parse_flags():
    parser = Parser(__doc__)
    add = parser.add_argument
    add("checkpoint", type=checkpoint_path, help="or an .onnx file")
    add("inputs", nargs="*", help="images, folders of them, globs, videos, a camera's number")
    add("--output", type=Path, metavar="FOLDER", help="of the copies; a new one, detections")
    add("--json", type=Path, metavar="FILE", help="also write the detections to this new file")
    add("--coco-json", type=Path, metavar="FILE", help="the same as COCO's result format")
    add("--score-threshold", type=float, help="show what scores at least this; that of the best F1")
    add("--max-detections", type=int, metavar="N", help="in each image")
    add("--batch", "--batch-size", type=int, default=1, metavar="N", help="images at a time: 1")
    add("--every", type=int, default=1, metavar="N", help="every N-th frame of a video only: 1")
    options.add_dataset_flags(parser)
    add("--split", help="of the dataset whose truth is shown: train, val, test; all if not given")
    options.add_device_flags(parser)
    flags = parser.parse()
    for name in ("batch", "every", "max_detections"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    return flags


if __name__ == "__main__":
    run_script(main)
