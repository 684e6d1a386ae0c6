"""What may be typed, and what a script does with mistakes, bugs and too little memory."""

import re
from dataclasses import fields

import pytest

from data.reading import select_classes
from data.records import Source
from data.text import UserError
from tests.conftest import ROOT
from utils import options, resolve
from utils.options import OTHER_FLAGS, OUR_FLAGS
from utils.recipe import Recipe
from utils.recipes import RECIPES


def recipe_of(*arguments):
    flags = options.train_parser("").parse(arguments)
    return resolve.asked_recipe(flags)


def test_without_flags_it_is_shapes():
    assert recipe_of() == RECIPES["shapes"]


def test_the_classic_is_the_coco_recipe():
    assert recipe_of("--dataset", "coco", "--depth", "50") == RECIPES["retinanet_coco"]


def test_flags_work_with_underscores_and_in_capitals():
    assert recipe_of("--dataset", "VOC", "--max_size=900", "--weight_decay", "0.1").max_size == 900
    assert recipe_of("--dataset=VOC").dataset == "voc"
    assert recipe_of("--metric", "VOC07", "--box-loss", "GIoU").box_loss == "giou"


def test_the_learning_rate_follows_the_batch_unless_given():
    assert recipe_of("--dataset", "coco", "--batch", "4").lr == pytest.approx(0.01 / 4)
    assert recipe_of("--dataset", "coco", "--batch", "4", "--lr", "0.5").lr == 0.5


def test_fewer_iterations_bring_their_milestones_along():
    recipe = recipe_of("--dataset", "coco", "--iters", "900")
    assert recipe.milestones == (600, 800) and recipe.warmup == 90
    assert recipe_of("--dataset", "coco", "--iters", "900", "--milestones", "5").milestones == (5,)


def test_the_jitter_follows_the_size():
    assert recipe_of("--dataset", "coco", "--resize", "400").jitter == (320, 400)


@pytest.mark.parametrize(
    "arguments, message",
    (
        (("--batch", "0"), "--batch 0: must be at least 1"),
        (("--workers", "-1"), "--workers -1"),
        (("--recipe", "nothing"), "no recipe 'nothing': use"),
        (("--seed", "-1"), "--seed -1: must be at least 0"),
        (("--focal-alpha", "1.5"), "--focal-alpha 1.5: must be at most 1"),
    ),
)
def test_a_mistake_says_what_would_be_right(arguments, message):
    with pytest.raises(UserError, match=message):
        recipe_of(*arguments)


# The commands of the ancestors.


def test_pytorch_retinanet_s_commands():
    recipe = recipe_of("--dataset", "coco", "--coco_path", "../coco", "--depth", "50")
    assert (recipe.model, recipe.dataset, recipe.root, recipe.depth) == (
        "retinanet",
        "coco",
        "../coco",
        50,
    )
    recipe = recipe_of(
        "--dataset",
        "csv",
        "--csv_train",
        "a.csv",
        "--csv_classes",
        "c.csv",
        "--csv_val",
        "b.csv",
        "--depth",
        "18",
        "--epochs",
        "10",
    )
    assert (recipe.dataset, recipe.annotations, recipe.class_list, recipe.val_annotations) == (
        "csv",
        "a.csv",
        "c.csv",
        "b.csv",
    )
    assert recipe.epochs == 10 and recipe.depth == 18
    adam = recipe_of("--recipe", "retinanet_adam", "--dataset", "coco")
    assert (
        adam.optimizer,
        adam.lr,
        adam.max_grad_norm,
        adam.lr_schedule,
        adam.plateau_patience,
    ) == (
        "adam",
        1e-5,
        0.1,
        "plateau",
        3,
    )


def test_ssd_pytorch_s_command():
    recipe = recipe_of(
        "--dataset",
        "VOC",
        "--dataset_root",
        "data/VOCdevkit",
        "--basenet",
        "vgg16_reducedfc.pth",
        "--batch_size",
        "16",
        "--num_workers",
        "2",
        "--lr",
        "1e-3",
        "--momentum",
        "0.8",
        "--weight_decay",
        "1e-4",
        "--gamma",
        "0.2",
        "--visdom",
        "True",
        "--save_folder",
        "weights/",
    )
    assert (recipe.model, recipe.dataset, recipe.root, recipe.weights) == (
        "ssd300",
        "voc",
        "data/VOCdevkit",
        "vgg16_reducedfc.pth",
    )
    assert (recipe.batch, recipe.workers, recipe.lr, recipe.momentum, recipe.weight_decay) == (
        16,
        2,
        1e-3,
        0.8,
        1e-4,
    )
    assert (recipe.gamma, recipe.visdom, recipe.iterations) == (0.2, "localhost:8097", 120_000)
    assert recipe_of("--dataset", "VOC", "--visdom", "False").visdom == ""


def test_nvidia_s_command():
    recipe = recipe_of(
        "--images",
        "i",
        "--annotations",
        "a.json",
        "--val-images",
        "vi",
        "--val-annotations",
        "va.json",
        "--fine-tune",
        "rn50.pth",
        "--iters",
        "2000",
        "--val-iters",
        "500",
        "--batch",
        "8",
        "--lr",
        "0.02",
        "--warmup",
        "7",
        "--milestones",
        "100",
        "150",
        "--gamma",
        "0.5",
        "--schedule",
        "2",
        "--resize",
        "600",
        "--max-size",
        "900",
        "--jitter",
        "480",
        "640",
        "--full-precision",
        "--logdir",
        "logs",
    )
    assert (recipe.dataset, recipe.images, recipe.annotations, recipe.val_images) == (
        "coco",
        "i",
        "a.json",
        "vi",
    )
    assert (recipe.weights, recipe.eval_every, recipe.batch, recipe.lr, recipe.warmup) == (
        "rn50.pth",
        500,
        8,
        0.02,
        7,
    )
    assert (recipe.iterations, recipe.milestones, recipe.gamma) == (4000, (200, 300), 0.5)
    assert (
        recipe.resize,
        recipe.max_size,
        recipe.jitter,
        recipe.precision,
        recipe.logdir,
    ) == (600, 900, (480, 640), "float32", "logs")


def test_mmdetection_s_tutorial_is_a_recipe():
    recipe = recipe_of("--dataset", "cityscapes")
    assert (
        recipe.weights,
        recipe.lr,
        recipe.batch,
        recipe.warmup,
        recipe.epochs,
        recipe.milestone_epochs,
    ) == ("coco", 0.01, 8, 500, 64, (56,))
    # 2,975 images are repeated 8 times in an epoch there: 8 epochs are 64 passes.
    recipe = resolve.in_iterations(recipe, 2975)
    assert recipe.iterations == 64 * 371 and recipe.milestones == (56 * 371,)


def test_the_strong_recipe_is_torchvision_s_second():
    recipe = recipe_of("--recipe", "retinanet_strong")
    assert (
        recipe.optimizer,
        recipe.lr,
        recipe.weight_decay,
        recipe.head_norm,
        recipe.box_loss,
    ) == ("adamw", 1e-4, 0.05, "group", "giou")
    assert recipe.jitter == (480, 800) and recipe.epochs == 26 and not recipe.frozen_norm
    assert recipe.weights == "imagenet_v2" and recipe.frozen_stages == 2


def test_a_schedule_is_stretched_as_a_whole():
    recipe = recipe_of("--dataset", "coco", "--schedule", "0.5")
    assert recipe.iterations == 45_000 and recipe.milestones == (30_000, 40_000)
    assert recipe_of("--dataset", "cityscapes", "--schedule", "2").epochs == 128
    assert recipe_of("--dataset", "coco", "--epochs", "12").milestone_epochs == (8, 11)


def test_images_of_ones_own_get_a_recipe_for_few_images():
    for flags in (("--dataset", "yolo"), ("--annotations", "a.csv"), ("--dataset", "csv")):
        assert recipe_of(*flags).iterations == RECIPES["retinanet_custom"].iterations
    assert recipe_of("--dataset", "yolo", "--model", "ssd512").model == "ssd512"


@pytest.mark.parametrize(
    "text, message",
    (
        ("recipe = 3", "no recipe in it"),
        ("recipe = nothing", "name 'nothing' is not defined"),
        (
            "from utils.recipes import shapes\nrecipe = shapes | dict(bach=3)",
            "a recipe has no 'bach'",
        ),
    ),
)
def test_a_wrong_recipe_file_is_named(tmp_path, text, message):
    (tmp_path / "my.py").write_text(text)
    with pytest.raises(UserError, match=f"my.py: .*{message}|my.py: {message}"):
        recipe_of("--recipe", str(tmp_path / "my.py"))


def test_the_command_line_is_stronger_than_the_recipe_file(tmp_path):
    (tmp_path / "my.py").write_text(
        "from utils.recipes import shapes\nrecipe = shapes | dict(lr=0.5, seed=7)\n"
    )
    recipe = recipe_of("--recipe", str(tmp_path / "my.py"), "--lr", "0.25")
    assert (recipe.lr, recipe.seed, recipe.depth) == (0.25, 7, 18)


@pytest.mark.parametrize("flag, value", (("skip-bad", True), ("compile", True), ("augment", False)))
def test_a_switch_goes_both_ways(tmp_path, flag, value):
    name = flag.replace("-", "_")
    path = tmp_path / "my.py"
    path.write_text(f"from utils.recipes import shapes\nrecipe = shapes | dict({name}={value})\n")
    assert getattr(recipe_of("--recipe", str(path)), name) == value
    typed = f"--no-{flag}" if value else f"--{flag}"
    assert getattr(recipe_of("--recipe", str(path), typed), name) != value


def test_every_option_has_the_flag_that_it_should_have():
    actions = options.train_parser("")._actions
    for known in fields(Recipe):
        flag = f"--{known.name.replace('_', '-')}"
        there = [a for a in actions if a.dest == known.name and flag in a.option_strings]
        assert len(there) == known.metadata["flag"], flag


def test_help_says_which_detector_an_option_is_for_and_a_default_that_all_recipes_share():
    text = " ".join(options.train_parser("").format_help().split())
    assert "layers of the ResNet (RetinaNet only)" in text
    assert "hard negatives for each positive prior (SSD only, default: 3)" in text
    assert "weight of the box loss beside the class loss --focal-alpha" in text


def test_the_version_is_that_of_pyproject(capsys):
    with pytest.raises(SystemExit) as end:
        options.train_parser("").parse(["--version"])
    assert end.value.code == 0
    number = capsys.readouterr().out.removeprefix("onestage ").strip()
    assert f'version = "{number}"' in (ROOT / "pyproject.toml").read_text()


def refusal(*arguments):
    """What train.py answers."""
    with pytest.raises(UserError) as mistake:
        options.train_parser("").parse(arguments)
    return str(mistake.value)


@pytest.mark.parametrize(
    "typed", ("--imgsz 640", "imgsz=640", "--amp", "--output_dir runs", "-b 8", "--batch auto")
)
def test_what_other_programs_call_otherwise_is_answered_with_ours(typed):
    words = typed.split()
    flag = "--batch=auto" if "auto" in typed else words[0].replace("_", "-").partition("=")[0]
    here = OTHER_FLAGS.get(flag) or OTHER_FLAGS[f"--{flag}"]
    assert refusal(*words).endswith(f" is not known here; here it is {here}")


@pytest.mark.parametrize("folder", ["data", "source", "config=1"])
def test_a_folder_may_be_named_like_a_flag_of_others(folder):
    flags = options.train_parser("").parse(["--root", folder, "--weights", "none"])
    assert str(flags.root) == folder


def test_no_flag_of_others_stands_twice_or_is_one_of_ours():
    flags = [flag for flags in OUR_FLAGS.values() for flag in flags.split()]
    ours = {name for action in options.train_parser("")._actions for name in action.option_strings}
    assert len(flags) == len(OTHER_FLAGS)
    assert ours & set(flags) <= {"--model", "--weights"}, "of which eval.py has neither"
    assert recipe_of("--model", "ssd300", "--weights", "none", "--batch", "8").batch == 8


def test_every_flag_of_ours_that_is_named_instead_is_there():
    parsers = "".join((ROOT / name).read_text() for name in ("detect.py", "eval.py", "export.py"))
    known = {name for action in options.train_parser("")._actions for name in action.option_strings}
    named = set(re.findall(r"--[a-z-]+", " ".join(OUR_FLAGS))) - {"--nproc-per-node"}
    assert not {flag for flag in named - known if f'"{flag}"' not in parsers}


def test_a_number_of_classes_is_answered_with_what_classes_are():
    with pytest.raises(UserError, match="takes the names of classes"):
        select_classes(Source(["cat"], {}), ["20"])


@pytest.mark.parametrize(
    "name, dataset", (("a.csv", "csv"), ("A.CSV", "csv"), ("a.tsv", "csv"), ("a.json", "coco"))
)
def test_the_ending_of_a_file_of_annotations_tells_its_format(name, dataset):
    flags = options.train_parser("").parse(["--annotations", name])
    assert options.dataset_of(flags) == dataset
