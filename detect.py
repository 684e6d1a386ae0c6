"""Draw the detections of a checkpoint on images.

python detect.py weights/retinanet_shapes/best.pth data/shapes/val
python detect.py best.pth photo.jpg folder/ --output found --json found.json
"""

import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.errors import UserError
from data.images import image_files, read_image
from published.load import load_detector
from utils import draw, options, parallel
from utils.build import build_collate, build_transform
from utils.files import must_be_new, new_name, write
from utils.predict import predict, to_original
from utils.script import run_script


class Detector:
    """A checkpoint as a function from an image [H, W, 3] RGB uint8 to its detections, in its
    pixels."""

    def __init__(self, path, device, precision=None):
        loaded = load_detector(path)
        self.model, self.recipe, self.classes = (
            loaded.model.to(device),
            loaded.recipe,
            loaded.classes,
        )
        self.show_threshold = loaded.show_threshold or 0.5
        self.device = device
        precision = precision or self.recipe.precision
        self.network = parallel.Network(self.model, device, precision).eval()
        self.transform, self.collate = build_transform(self.recipe), build_collate(self.recipe)

    def __call__(self, image):
        no_objects = dict(
            boxes=np.zeros((0, 4), np.float32),
            labels=np.zeros(0, int),
            ignore=np.zeros(0, bool),
            index=0,
        )
        sample = self.transform(image, no_objects, None)
        images, targets = parallel.to_device(*self.collate([sample]), self.device)
        result = predict(self.network, self.model, images, targets, self.recipe)[0]
        return to_original(result, targets[0]["size"], image.shape[:2])


def list_images(paths):
    """(path, name of its copy) of every image: its own name, or its place within a named folder."""
    files = {}
    for path in paths:
        if path.is_dir():
            images = [Path(file) for file in image_files(path)]
            if not images:
                raise UserError(f"{path}: no images in this folder")
            named = [(file, file.relative_to(path)) for file in images]
        elif path.is_file():
            named = [(path, Path(path.name))]
        else:
            raise UserError(f"{path}: no such file or folder")
        for file, name in named:
            if files.get(name, file) != file:
                name = Path(*file.parts[1:]) if file.is_absolute() else file
            files[name] = file
    return [(file, name) for name, file in files.items()]


def main():
    flags = parse_flags()
    files = list_images(flags.images)
    output = flags.output or new_name(Path("detections"))
    must_be_new(flags.json, *(output / name for _, name in files))
    detector = Detector(flags.checkpoint, parallel.start(flags.device), flags.precision)
    threshold = flags.score_threshold
    if threshold is None:
        threshold = detector.show_threshold
    print(f"shown: detections with a score of at least {threshold:.2f}")

    results, broken = [], []
    for file, name in tqdm(files, disable=None, unit="image"):
        try:
            image = read_image(file)
        except UserError as problem:
            broken.append(str(problem))
            continue
        detections = detector(image)
        shown = detections["scores"] >= threshold
        boxes, scores, labels = (
            detections[key][shown].tolist() for key in ("boxes", "scores", "labels")
        )
        picture = draw.draw(image, boxes, labels, detector.classes, scores)
        draw.save_picture(output / name, picture)
        for box, score, label in zip(boxes, scores, labels):
            result = {"image": str(file), "class": detector.classes[label]}
            box = [round(side, 1) for side in box]
            results.append(result | dict(score=round(score, 4), box=box))
    if flags.json:
        write(flags.json, json.dumps(results, indent=1))
    print(f"{len(results)} detections, drawn into {output}")
    if broken:
        print(f"{len(broken)} of {len(files)} images could not be read:", file=sys.stderr)
        print(*broken, sep="\n", file=sys.stderr)
    return 1 if broken else 0


def parse_flags():
    parser = options.Parser(__doc__)
    add = parser.add_argument
    add("checkpoint", type=Path)
    add("images", type=Path, nargs="+", help="image files, or folders of them")
    add("--output", type=Path, metavar="FOLDER", help="of the copies; a new one, detections")
    add("--json", type=Path, metavar="FILE", help="also write the detections to this new file")
    add("--score-threshold", type=float, help="show what scores at least this; that of the best F1")
    options.add_device_flags(parser)
    return parser.parse()


if __name__ == "__main__":
    run_script(main)
