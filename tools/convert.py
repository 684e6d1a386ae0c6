"""Tell which program wrote a checkpoint, and convert it to ours, or ours to torchvision's.

python -m tools.convert FILE                     # its family, and what is known of its detector
python -m tools.convert FILE --output ours.pth   # the same detector as a checkpoint of ours
python -m tools.convert best.pth --to torchvision --output theirs.pth
"""

from pathlib import Path

from published.load import UNLIMITED, open_checkpoint
from published.to_torchvision import torchvision_code, torchvision_state
from utils import checkpoint
from utils.build import describe_conventions
from utils.files import must_be_new
from utils.options import Parser
from utils.stop import run_script


def main():
    parser = Parser(__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--output", type=Path, help="save the converted detector as this new file")
    parser.add_argument(
        "--to",
        choices=("ours", "torchvision"),
        default="ours",
        help="the program to convert for: ours",
    )
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="the classes, if the file does not name them"
    )
    parser.add_argument(
        "--prior-sizes", type=float, nargs="+", metavar="PX", help="the sizes of an SSD's priors"
    )
    flags = parser.parse()
    must_be_new(flags.output)
    content, family = open_checkpoint(
        flags.file, classes=flags.classes, prior_sizes=flags.prior_sizes or ()
    )
    print(*describe(content, family, flags.file), sep="\n")
    if flags.to == "torchvision":
        save_for_torchvision(checkpoint.build_model(content, flags.file), flags.output)
    elif flags.output:
        checkpoint.save(flags.output, content)
        print(f"saved        {flags.output}")


def save_for_torchvision(loaded, output):
    """Print the code that builds the model with torchvision, and save its tensors as output."""
    code = torchvision_code(loaded)
    name = output or "theirs.pth"
    print(f"\n{code}model.load_state_dict(torch.load({str(name)!r}))\nmodel.eval()\n")
    if output:
        checkpoint.save(output, torchvision_state(loaded, code))
        print(f"saved        {output}; the lines above build the model that loads it")


def describe(content, family, path):
    """Lines about the detector that a checkpoint holds."""
    recipe = checkpoint.recipe_of(content, path)
    classes = content["classes"]
    tensors = [value for value in content["model"].values() if value.is_floating_point()]
    detector = recipe.model
    if recipe.model == "retinanet":
        detector += f", depth {recipe.depth}, heads' norm {recipe.head_norm}"
    topk = "all" if recipe.pre_nms_topk == UNLIMITED else recipe.pre_nms_topk
    most = "all" if recipe.max_detections == UNLIMITED else recipe.max_detections
    yield f"family       {family}"
    yield f"detector     {detector}"
    yield f"parameters   {sum(value.numel() for value in tensors):,}"
    yield f"classes      {len(classes)}: {', '.join(classes)}"
    if recipe.prior_sizes:
        yield f"prior sizes  {', '.join(f'{size:g}' for size in recipe.prior_sizes)}"
    yield f"conventions  {describe_conventions(recipe.conventions)}"
    yield (
        f"evaluated    score_threshold {recipe.score_threshold}, nms_iou {recipe.nms_iou}, "
        f"pre_nms_topk {topk} per {recipe.topk_per}, max_detections {most}"
    )


if __name__ == "__main__":
    run_script(main)
