"""Write a detector as an ONNX file, which runs without PyTorch.

python export.py weights/retinanet_shapes/best.pth detector.onnx
python export.py best.pth detector.onnx --nms         # with non-maximum suppression
python eval.py detector.onnx                          # it serves as a checkpoint, also in detect.py
"""

from pathlib import Path

from data.text import UserError
from published.load import load_detector
from published.weights import checkpoint_path
from utils.files import must_be_new
from utils.onnx import OUTPUTS, export, largest_differences
from utils.options import Parser
from utils.stop import run_script

TOLERANCE = 0.01  # pixels by which the file's boxes may differ from the checkpoint's


def main():
    flags = parse_flags()
    must_be_new(flags.output)
    if flags.output.suffix != ".onnx":
        raise UserError(f"{flags.output}: the name of an ONNX file must end with .onnx")
    loaded = load_detector(flags.checkpoint)
    export(loaded, flags.output, flags.nms)

    print("input        images [B, 3, H, W]: RGB pixels, 0 to 255")
    print("outputs      boxes [B, A, 4]: xyxy in these pixels;  scores [B, A, C]")
    if flags.nms:
        print("             selected [D, 3]: image, class and prior of each detection")
    # The file is run once, so that no user has to find out that it computes something else.
    differences = largest_differences(loaded, flags.output)
    for name, unit in zip(OUTPUTS, (" pixels", "")):
        print(f"{name:12} differ from the checkpoint's by {differences[name]:.1g}{unit} at most")
    print(f"saved        {flags.output}")
    return 0 if differences["boxes"] < TOLERANCE else 1


def parse_flags():
    parser = Parser(__doc__)
    parser.add_argument("checkpoint", type=checkpoint_path, help="file of weights")
    parser.add_argument("output", type=Path, help="new file, whose name ends with .onnx")
    parser.add_argument("--nms", action="store_true", help="include non-maximum suppression")
    return parser.parse()


if __name__ == "__main__":
    run_script(main)
