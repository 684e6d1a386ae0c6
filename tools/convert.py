"""Say whose detector a published file is, or make a checkpoint of ours of it.

    python -m tools.convert FILE                     # whose detector it is, and what is known of it
    python -m tools.convert FILE --output ours.pth   # the same detector as a checkpoint of ours
"""
from pathlib import Path

from published.load import ALL, opened
from utils import checkpoint, conventions, options
from utils.files import must_be_new


def main():
    parser = options.new_parser(__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--output", type=Path, help="save it as a checkpoint of ours")
    flags = options.parse(parser)
    must_be_new(flags.output)
    content, whose = opened(flags.file)
    recipe, classes = checkpoint.recipe_of(content), content["classes"]
    of = f", depth {recipe.depth}, heads' norm {recipe.head_norm}" if recipe.model == "retinanet" else ""
    print(f"family       {whose}\ndetector     {recipe.model}{of}")
    print(f"parameters   {sum(value.numel() for value in content['model'].values() if value.is_floating_point()):,}")
    print(f"classes      {len(classes)}: {', '.join(classes)}")
    print(f"conventions  {conventions.describe(recipe.conventions)}")
    candidates, limit = ("all" if count == ALL else count for count in (recipe.candidates, recipe.limit))
    print(f"judged with  min_score {recipe.min_score}, max_iou {recipe.max_iou}, {candidates} candidates a "
          f"{recipe.candidates_of}, {limit} detections an image")
    if flags.output:
        checkpoint.save(flags.output, content)
        print(f"saved        {flags.output}")


if __name__ == "__main__":
    options.script(main)
