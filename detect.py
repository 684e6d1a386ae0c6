"""Draw the detections of a checkpoint on images.

python detect.py weights/retinanet_shapes/best.pth data/shapes/val
python detect.py best.pth photo.jpg folder/ --output found --json found.json
"""

import json
import sys
from pathlib import Path

from tqdm import tqdm

from data.errors import UserError
from data.images import image_files, read_image
from published.detector import Detector
from published.fetch import checkpoint_path
from utils import draw, options
from utils.files import must_be_new, new_name, write
from utils.script import run_script


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
    detector = Detector(flags.checkpoint, flags.device, flags.precision, flags.score_threshold)
    print(f"shown: detections with a score of at least {detector.score_threshold:.2f}")

    results, broken = [], []
    for file, name in tqdm(files, disable=None, unit="image"):
        try:
            image = read_image(file)
        except UserError as problem:
            broken.append(str(problem))
            continue
        detections = detector(image)
        draw.save_picture(output / name, detector.draw(image, detections))
        columns = (detections[key] for key in ("boxes", "scores", "names"))
        for box, score, class_name in zip(*columns):
            box = [round(side, 1) for side in box.tolist()]
            result = {"image": str(file), "class": class_name, "score": round(float(score), 4)}
            results.append(result | dict(box=box))
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
    add("checkpoint", type=checkpoint_path)
    add("images", type=Path, nargs="+", help="image files, or folders of them")
    add("--output", type=Path, metavar="FOLDER", help="of the copies; a new one, detections")
    add("--json", type=Path, metavar="FILE", help="also write the detections to this new file")
    add("--score-threshold", type=float, help="show what scores at least this; that of the best F1")
    options.add_device_flags(parser)
    return parser.parse()


if __name__ == "__main__":
    run_script(main)
