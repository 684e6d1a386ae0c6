"""Draw what a checkpoint sees on images.

    python detect.py weights/retinanet_shapes/best.pth data/shapes/val
    python detect.py best.pth photo.jpg folder/ --output found --json found.json
"""
import json
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.images import image_files, read_image
from published.load import load_detector
from utils import draw, options, parallel
from utils.build import build_collate, build_transform
from utils.files import must_be_new, new_name, write
from utils.predict import predict, to_original


class Detector:
    """A checkpoint as a function from an image [H, W, 3] RGB uint8 to its detections, in the image's own pixels."""

    def __init__(self, path, device, full_precision=False):
        self.model, self.recipe, self.classes = load_detector(path)
        self.device = device
        self.model.to(device)
        self.network = parallel.Network(self.model, device, full_precision).eval()
        self.transform, self.collate = build_transform(self.recipe), build_collate(self.recipe)

    def __call__(self, image):
        nothing = dict(boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, int), ignore=np.zeros(0, bool), index=0)
        images, targets = self.collate([self.transform(image, nothing, None)])
        images, targets = parallel.to_device(images, targets, self.device)
        found = predict(self.network, self.model, images, targets, self.recipe)[0]
        return to_original(found, targets[0]["size"], image.shape[:2])


def listed(paths):
    """Each image to look at, with the name of its copy: a file's own, or its place within the folder that was named."""
    for path in paths:
        if path.is_dir():
            files = [Path(file) for file in image_files(path)]
            if not files:
                raise UserError(f"{path}: no images in this folder")
            yield from ((file, file.relative_to(path)) for file in files)
        elif path.is_file():
            yield path, Path(path.name)
        else:
            raise UserError(f"{path}: no such file or folder")


def main():
    parser = options.new_parser(__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("images", type=Path, nargs="+", help="image files, or folders of them")
    parser.add_argument("--output", type=Path, help="folder of the copies; a new one, detections, if not given")
    parser.add_argument("--json", type=Path, help="also write what was found to this file")
    parser.add_argument("--min-score", type=float, default=0.5, help="show what scores at least this: 0.5")
    options.add_device_flags(parser)
    flags = options.parse(parser)

    files = list(listed(flags.images))
    output = flags.output or new_name(Path("detections"))
    must_be_new(flags.json, *(output / name for _, name in files))
    detector = Detector(flags.checkpoint, parallel.start(flags.device), flags.full_precision)
    results = []
    for file, name in files:
        image = read_image(file)
        found = detector(image)
        sure = found["scores"] >= flags.min_score
        boxes, scores, labels = (found[key][sure].tolist() for key in ("boxes", "scores", "labels"))
        draw.save(output / name, draw.draw(image, boxes, labels, detector.classes, scores))
        results += [dict(image=str(file), **{"class": detector.classes[label]}, score=round(score, 4),
                         box=[round(side, 1) for side in box]) for box, score, label in zip(boxes, scores, labels)]
        print(f"{file}: {len(boxes)} found")
    if flags.json:
        write(flags.json, json.dumps(results, indent=1))
    print(f"drawn into {output}")


if __name__ == "__main__":
    options.script(main)
