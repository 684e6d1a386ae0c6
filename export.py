"""Write a detector as an ONNX file, which runs without PyTorch.

python export.py weights/retinanet_shapes/best.pth detector.onnx
python export.py best.pth detector.onnx --nms         # with non-maximum suppression
python export.py best.pth detector.onnx --int8        # a quarter of the size, and faster
python eval.py detector.onnx                          # it serves as a checkpoint, also in detect.py
"""

from pathlib import Path

from data.dataset import Dataset
from data.folder import Folder
from data.reading import dataset_path
from data.records import Entry, pack
from data.text import UserError
from published.load import load_detector
from published.weights import checkpoint_path
from utils.build import build_collate, build_transform, eval_dataset
from utils.files import must_be_new
from utils.onnx import OUTPUTS, example_images, export, largest_differences
from utils.options import Parser
from utils.stop import run_script

TOLERANCE = 0.01  # pixels by which the file's boxes may differ from the checkpoint's
NUM_CALIBRATION = 50  # images; with 10 and with 300 the AP was the same
NUM_COMPARED = 5  # of them, which the int8 file is checked with


def main():
    flags = parse_flags()
    must_be_new(flags.output)
    if flags.output.suffix != ".onnx":
        raise UserError(f"{flags.output}: the name of an ONNX file must end with .onnx")
    if flags.checkpoint.suffix == ".onnx":
        raise UserError(f"{flags.checkpoint} is an ONNX file already: name its checkpoint")
    if flags.images and not flags.int8:
        raise UserError("--images names the photos for --int8, which is not asked for")
    loaded = load_detector(flags.checkpoint)
    batches = calibration_batches(loaded, flags.images) if flags.int8 else []
    export(loaded, flags.output, flags.nms, batches)

    print("input        images [B, 3, H, W]: RGB pixels, 0 to 255")
    print("outputs      boxes [B, A, 4]: xyxy in these pixels;  scores [B, A, C]")
    if flags.nms:
        print("             selected [D, 3]: image, class and prior of each detection")
    # The file is run, so that no user has to find out that it computes something else. Of int8,
    # only what is shown counts: rounding may move the box of a prior without an object far.
    shown = (loaded.show_threshold or loaded.recipe.score_threshold) if flags.int8 else 0.0
    images = batches[:NUM_COMPARED] or [example_images(loaded.recipe)]
    differences = largest_differences(loaded, flags.output, images, shown)
    for name, unit in zip(OUTPUTS, (" pixels", "")):
        print(f"{name:12} differ from the checkpoint's by {differences[name]:.1g}{unit} at most")
    if flags.int8:
        print(f"             where the score is at least {shown:.2f}, in {len(images)} images;")
        print("             eval.py measures what that costs")
    print(f"saved        {flags.output}")
    if not (flags.int8 or differences["boxes"] < TOLERANCE):
        raise UserError(
            f"{flags.output}: its boxes differ from the checkpoint's by {TOLERANCE} pixels or more"
        )


def calibration_batches(loaded, folder):
    """Images of a folder, or else training images, as the detector sees them: [1, 3, H, W] each."""
    recipe = loaded.recipe
    try:
        if folder:
            photos = Folder(folder)
            entries = [Entry(photos.path(name), None, name, []) for name in spread(photos.images)]
            records = pack(entries, loaded.classes)
            if records.problems or not entries:
                raise UserError([*records.problems, f"no images in {folder}"][0])
            dataset = Dataset(loaded.classes, records, build_transform(recipe))
        else:
            dataset = eval_dataset(recipe, "train", loaded.classes)
        collate = build_collate(recipe)
        batches = [collate([dataset[0, i, (0, 0)]])[0] for i in spread(range(len(dataset)))]
    except UserError as problem:
        source = "--images" if folder else "the training images, or others by --images"
        raise UserError(f"--int8 needs {source}: {problem}") from None
    source = folder or f"the training images of {dataset_path(recipe)}"
    print(f"int8         is scaled to the values of {len(batches)} images, of {source}")
    return batches


def spread(items):
    """At most NUM_CALIBRATION of the items, at equal distances."""
    return items[:: -(-len(items) // NUM_CALIBRATION) or 1]


def parse_flags():
    parser = Parser(__doc__)
    parser.add_argument(
        "checkpoint", type=checkpoint_path, help="a run's folder or a file of weights"
    )
    parser.add_argument("output", type=Path, help="new file, whose name ends with .onnx")
    parser.add_argument("--nms", action="store_true", help="include non-maximum suppression")
    parser.add_argument("--int8", action="store_true", help="8-bit convolutions: small and fast")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="photos that --int8 is scaled to (default: the training images)",
    )
    return parser.parse()


if __name__ == "__main__":
    run_script(main)
