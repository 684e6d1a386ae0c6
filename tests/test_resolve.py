"""Which recipe it is, and that what was typed is never silently something else."""

import argparse
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.formats import voc
from data.text import UserError
from published.weights import Weights
from tests.test_options import recipe_of
from utils import options, resolve
from utils.recipe import Recipe
from utils.recipes import RECIPES

COCO = ["person", "toothbrush", "hair drier", *(f"class {i}" for i in range(77))]


def fitted(
    *arguments, classes=("a", "b"), images=300, learned=None, known=None, side=None, has_gpu=True
):
    flags = options.train_parser("").parse(arguments)
    device = torch.device("cuda" if has_gpu else "cpu")
    asked = resolve.asked_recipe(flags)
    weights = Weights(learned or {}, None, known, side)
    return resolve.resolve_recipe(flags, asked, list(classes), images, device, weights)


@pytest.mark.parametrize(
    "dataset, classes, images, expected",
    (
        ("coco", COCO, 118_287, "retinanet_coco"),
        ("voc", voc.CLASSES, 16_551, "retinanet_voc"),
        ("cityscapes", ("car",), 2975, "retinanet_cityscapes"),
    ),
)
def test_a_published_dataset_gets_its_published_recipe(dataset, classes, images, expected):
    for flags in (("--dataset", dataset), ("--dataset", dataset, "--root", "somewhere/else")):
        recipe, reason = fitted(*flags, classes=classes, images=images)
        counted = resolve.in_iterations(RECIPES[expected], images)
        assert recipe == counted | dict(root=recipe.root) and expected in reason


@pytest.mark.parametrize("dataset", ("voc", "coco", "csv", "yolo", "auto", "cityscapes"))
def test_own_data_get_a_recipe_whose_length_follows_the_images(dataset):
    lengths = []
    for images in (30, 300, 1200, 100_000):
        recipe, reason = fitted("--dataset", dataset, "--root", "mine", images=min(images, 999))
        recipe, reason = fitted("--dataset", "yolo", "--root", "mine", images=images)
        assert "retinanet_custom" in reason and "--recipe chooses another" in reason
        lengths.append(recipe.iterations)
    assert lengths == [1000, 3000, 6000, 30_000]
    recipe, _ = fitted("--dataset", dataset, "--root", "mine", images=300)
    assert recipe.iterations == 3000 and recipe.dataset == dataset


def test_a_recipe_that_was_asked_for_always_wins():
    recipe, reason = fitted("--recipe", "retinanet_coco", "--dataset", "voc", "--root", "mine")
    assert recipe.iterations == 90_000 and reason == "recipe retinanet_coco, as asked for"


def test_what_the_weights_decide_against_the_recipe_that_was_asked_for_is_said():
    flags = ("--recipe", "retinanet_coco", "--root", "mine", "--weights", "best.pth")
    recipe, reason = fitted(*flags, learned=dict(depth=18, channels=64, model="retinanet"))
    assert (recipe.depth, recipe.channels) == (18, 64)
    assert reason == "recipe retinanet_coco, as asked for, but best.pth decides depth, channels"


def test_without_a_gpu_own_data_start_smaller_unless_said_otherwise():
    small, reason = fitted("--root", "mine", has_gpu=False)
    assert (small.depth, small.resize, small.max_size) == (
        18,
        320,
        534,
    ) and "without a GPU" in reason
    assert fitted("--root", "mine", "--depth", "50", has_gpu=False)[0].depth == 50


def test_without_a_gpu_the_base_is_narrow_unless_its_weights_are_wide():
    widths = [
        fitted("--root", "mine", *flags, learned=learned, has_gpu=False)[0].base_width
        for flags, learned in (
            (("--weights", "none"), {}),
            (("--weights", "none", "--base-width", "64"), {}),
            ((), dict(base_width=64)),
            (("--weights", "w.pth"), dict(base_width=16)),
        )
    ]
    assert widths == [32, 64, 64, 16]
    with pytest.raises(UserError, match="--base-width 32: imagenet was made with --base-width 64"):
        fitted("--root", "mine", "--base-width", "32", learned=dict(base_width=64))


@pytest.mark.parametrize("has_gpu", (True, False))
def test_own_data_are_learned_alike_from_random_and_from_loaded_weights(has_gpu):
    recipe, reason = fitted("--root", "mine", "--weights", "none", images=300, has_gpu=has_gpu)
    assert reason.startswith("recipe retinanet_scratch: own data") and recipe.iterations == 3000
    assert recipe.optimizer == "adamw" and recipe.head_norm == "group" and recipe.fit_priors
    assert recipe.channels == 64 and not recipe.frozen_norm and not recipe.frozen_stages
    pretrained, _ = fitted("--root", "mine", images=300, has_gpu=has_gpu)
    assert pretrained == recipe | dict(weights="imagenet")


def test_the_longest_side_follows_the_short_one():
    recipe, _ = fitted("--root", "mine", "--resize", "1280")
    assert recipe.max_size == 2134 and recipe.jitter == (1024, 1280)
    assert fitted("--root", "mine", "--resize", "1280", "--max-size", "900")[0].max_size == 900


@pytest.mark.parametrize(
    "typed, sizes",
    (
        ("--jitter 256 320", (320, 534)),
        ("--jitter 800 1200", (1200, 2001)),
        ("--jitter 480 800", (640, 1067)),
        ("--jitter 256 320 --resize 640", (640, 1067)),
        ("--jitter 256 320 --max-size 900", (320, 900)),
    ),
)
def test_images_are_validated_in_a_size_of_the_training(typed, sizes):
    recipe, _ = fitted("--root", "mine", *typed.split())
    assert (recipe.resize, recipe.max_size) == sizes
    assert recipe.jitter == tuple(map(int, typed.split()[1:3]))


def test_in_few_epochs_the_learning_rate_arrives():
    few = ("--root", "mine", "--recipe", "retinanet_coco", "--epochs", "20", "--batch", "8")
    recipe, _ = fitted(*few, images=100)
    assert recipe.iterations == 240 and recipe.warmup == 24
    assert fitted(*few, "--warmup", "99", images=100)[0].warmup == 99


def test_a_relative_path_is_found_again_from_another_folder():
    recipe, _ = fitted("--root", "mine")
    assert recipe.root == str(Path.cwd() / "mine") and recipe.images == ""


def test_milestones_that_are_typed_replace_the_cosine():
    recipe, _ = fitted("--root", "mine", "--milestones", "100", "200")
    assert recipe.lr_schedule == "milestones" and recipe.milestones == (100, 200)


def test_the_weights_are_those_that_were_found_before_the_data_were_read():
    """Of a folder in Cityscapes' format they are COCO's, whichever recipe its images get."""
    recipe, reason = fitted("--dataset", "cityscapes", images=30)
    assert "retinanet_custom" in reason and recipe.weights == "coco"
    assert fitted("--dataset", "yolo", "--weights", "none", images=30)[0].weights == "none"


def test_an_ssd_learns_own_data_alike_from_random_and_from_loaded_weights():
    ssd, reason = fitted("--root", "mine", "--weights", "none", "--model", "ssd512")
    assert ssd.model == "ssd512" and "ssd512_scratch" in reason
    assert ssd.vgg_norm == "batch" and ssd.fit_priors
    pretrained, _ = fitted("--root", "mine", "--model", "ssd512")
    assert pretrained == ssd | dict(weights="imagenet")


@pytest.mark.parametrize("model", ("ssd300", "ssd512"))
def test_without_a_gpu_an_ssd_makes_more_and_smaller_steps(model):
    typed = ("--root", "mine", "--weights", "none", "--model", model)
    small, reason = fitted(*typed, has_gpu=False)
    assert (small.batch, small.lr) == (4, 1e-3) and "without a GPU" in reason
    large, _ = fitted(*typed, has_gpu=True)
    assert (large.batch, large.lr) == (8, 1e-3)
    assert fitted(*typed, "--batch", "8", has_gpu=False)[0].batch == 8
    pretrained, _ = fitted("--root", "mine", "--model", model, has_gpu=False)
    assert (pretrained.batch, pretrained.lr) == (4, 1e-3)


def test_priors_of_a_detector_are_fitted_where_its_classes_are_others_or_if_asked_for():
    none = ("--root", "mine", "--weights", "none")
    assert not fitted(*none, "--no-fit-priors")[0].fit_priors
    assert fitted("--root", "mine", "--fit-priors")[0].fit_priors
    loaded = ("--root", "mine", "--weights", "w.pth")
    others = dict(learned=dict(model="retinanet"), known=["c"])
    same = dict(learned=dict(model="retinanet"), known=["b", "a", "c"])
    assert fitted(*loaded, **others)[0].fit_priors
    assert not fitted(*loaded, "--no-fit-priors", **others)[0].fit_priors
    assert not fitted(*loaded, **same)[0].fit_priors
    assert fitted(*loaded, "--fit-priors", **same)[0].fit_priors


def test_priors_of_a_run_with_images_of_another_size_are_fitted():
    loaded = ("--root", "mine", "--weights", "w.pth")
    ours = dict(learned=dict(model="retinanet"), known=["a", "b"], side=640)
    assert not fitted(*loaded, **ours)[0].fit_priors
    assert fitted(*loaded, "--resize", "960", **ours)[0].fit_priors
    assert not fitted(*loaded, "--resize", "960", "--no-fit-priors", **ours)[0].fit_priors


def test_a_file_of_a_base_alone_has_no_priors_so_they_are_fitted(monkeypatch):
    """ImageNet's weights in a file of the user's: a name tells nothing of what is in it."""
    base = ("--root", "mine", "--recipe", "retinanet_scratch", "--weights", "base.pth")
    recipe, _ = fitted(*base)
    monkeypatch.setattr(resolve, "resized_boxes", lambda dataset: np.array([[0.0, 0, 9, 90]] * 9))
    dataset = SimpleNamespace(records=SimpleNamespace(ignore=np.zeros(9, bool)))
    fitted_to_data, line = resolve.fitted_recipe(recipe, dataset, has_heads=False)
    assert recipe.fit_priors and fitted_to_data != recipe and "reach 100.0%" in line


@pytest.mark.parametrize("flag, value", (("--depth", "34"), ("--model", "ssd300")))
def test_a_flag_that_the_weights_contradict_is_an_error_that_names_both(flag, value):
    learned = dict(model="retinanet", depth=18)
    with pytest.raises(UserError, match=rf"{flag} {value}: w.pth was made with {flag} "):
        fitted("--root", "mine", "--weights", "w.pth", flag, value, learned=learned)


def test_the_weights_of_an_ssd_make_it_an_ssd():
    recipe, _ = fitted("--root", "mine", "--weights", "w.pth", learned=dict(model="ssd512"))
    assert recipe.model == "ssd512" and recipe.topk_per == "class"


def stored(*arguments, **changes):
    flags = options.train_parser("").parse(arguments)
    return resolve.resumed_recipe(flags, RECIPES["retinanet_custom"] | changes)


def test_a_checkpoint_does_not_choose_where_a_resumed_training_writes_or_sends():
    recipe = stored("--logdir", "mine", logdir="theirs", visdom="their.host:80")
    assert recipe.logdir == "mine" and recipe.visdom == ""


def test_what_is_typed_of_the_data_replaces_all_that_was_stored():
    before = dict(dataset="coco", annotations="a.json", images="i", val_annotations="b.json")
    recipe = stored("--root", "new", **before)
    assert (recipe.dataset, recipe.root, recipe.annotations) == (
        "auto",
        str(Path("new").absolute()),
        "",
    )
    assert recipe.images == recipe.val_annotations == ""
    recipe = stored("--annotations", "c.csv", **before)
    c_csv = str(Path("c.csv").absolute())
    assert (recipe.dataset, recipe.annotations, recipe.val_annotations) == ("csv", c_csv, "")
    assert stored("--batch", "2", **before).annotations.endswith("a.json")


@pytest.mark.parametrize(
    "typed, message",
    (
        ("--root d --images p", "--images p: name --annotations as well"),
        ("--root d --val-annotations v.json", "--val-annotations v.json: name --annotations"),
        ("--root d --dataset csv --csv-classes c.csv", "--class-list c.csv: name --annotations"),
        ("--root d --annotations a.json", "--root d: with --annotations, the folder is --images"),
        ("--annotations a.json --csv-classes c.csv", "--class-list c.csv: only for csv files"),
        ("--root d --iters 50 --epochs 2", "--iters and --epochs both say how long"),
        ("--root d --iters 0", "--iterations 0: must be at least 1"),
        ("--root d --recipe retinanet_coco --epochs 0", "--epochs 0: must be at least 1"),
        ("--root d --schedule 0", "--schedule 0: must be over 0 and below 1e+12"),
        ("--root d --schedule nan", "--schedule nan: must be over 0"),
        ("--root d --schedule inf", "--schedule inf: must be over 0"),
        ("--root d --iters 4 --schedule 0.1", "--schedule 0.1: 0 iterations; must be at least 1"),
        ("--recipe retinanet_adam --schedule 0.001", "--schedule 0.001: 0 iterations"),
        ("--root=", "--root '': must not be empty"),
        ("--annotations=", "--annotations '': must not be empty"),
        ("--root d --gamma 0.5", "--gamma 0.5: name --milestones, at which lr is to fall, too"),
        ("--root d --basenet a --weights b", "--basenet and --weights both name weights"),
    ),
)
def test_no_flag_is_without_effect_beside_another(typed, message):
    with pytest.raises(UserError, match=re.escape(message)):
        fitted(*typed.split())


@pytest.mark.parametrize(
    "typed, names",
    (
        (
            "--model ssd300 --resize 512 --depth 18",
            {"--depth": "RetinaNet", "--resize": "RetinaNet"},
        ),
        ("--negatives-per-positive 2 --depth 18", {"--negatives-per-positive": "SSD"}),
        ("--momentum 0.8 --jitter 300 400", {"--momentum": "sgd"}),
        ("--recipe retinanet_coco --momentum 0.8", {}),
        ("--base-lr 0.1 --only-base", {}),
        (
            "--weights none --base-lr 0.1 --frozen-stages 2 --only-base",
            {
                "--only-base": "loaded weights",
                "--frozen-stages": "loaded weights",
                "--base-lr": "loaded weights",
            },
        ),
        ("--milestones 5 --model ssd512 --negatives-per-positive 2", {}),
    ),
)
def test_flags_of_another_detector_or_optimizer_are_said_to_have_no_effect(typed, names):
    flags = options.train_parser("").parse(["--root", "mine", *typed.split()])
    recipe, _ = fitted("--root", "mine", *typed.split())
    lines = [f"{flag} has no effect: it is for {only} only" for flag, only in names.items()]
    assert options.without_effect(flags, recipe) == lines


@pytest.mark.parametrize(
    "typed, message",
    (
        ("--recipe mine.py", "--recipe: the checkpoint has its own"),
        ("--fit-priors", "--fit-priors: the checkpoint has its own"),
        ("--base-width 8", "--base-width 8: the checkpoint has 64"),
        ("--finest-stride 4", "--finest-stride 4: the checkpoint has 8"),
        ("--classes cat", "--classes ('cat',): the checkpoint has ()"),
        ("--ema 0.9", "--ema 0.9: the checkpoint has no averaged weights"),
        ("--schedule 0.5", "--schedule: the checkpoint has its own"),
        ("--basenet vgg.pth", "--basenet: the checkpoint has its own"),
    ),
)
def test_a_resumed_run_stays_what_it_was(typed, message):
    with pytest.raises(UserError, match=re.escape(f"--resume with {message}")):
        stored(*typed.split())


def test_the_flags_of_an_ancestor_s_guide_hold_for_own_data():
    typed = "--dataset VOC --dataset_root d --batch_size 32 --lr 1e-3 --gamma 0.1 --momentum 0.9"
    assert fitted(*typed.split())[0].lr == 1e-3
    recipe, _ = fitted("--dataset", "auto", "--annotations", "a.csv", "--csv-classes", "c.csv")
    assert recipe.dataset == "csv"


def test_a_recipe_for_another_detector_than_the_file_s_is_one_line():
    with pytest.raises(UserError, match="retinanet_coco: f.pth is of another model, ssd300"):
        typed = ("--root", "d", "--recipe", "retinanet_coco", "--weights", "f.pth")
        fitted(*typed, learned=dict(model="ssd300"))


def test_milestones_that_are_typed_replace_those_in_epochs():
    for dataset in ("kitti", "widerface"):
        typed = ("--dataset", dataset, "--milestones", "3000", "5000")
        assert fitted(*typed, images=5000)[0].milestones == (3000, 5000)


def test_a_recipe_that_is_named_says_whether_priors_are_fitted():
    for recipe, expected in (("retinanet_coco", False), ("retinanet_custom", True)):
        for known in (["a", "b"], ["c"]):
            typed = ("--root", "d", "--recipe", recipe, "--weights", "f.pth")
            assert fitted(*typed, known=known)[0].fit_priors == expected


def test_a_recipe_file_may_import_another_beside_it(tmp_path):
    (tmp_path / "base_recipe.py").write_text("from utils.recipes import shapes as base\n")
    text = "from base_recipe import base\nrecipe = base | dict(seed=9)\n"
    (tmp_path / "mine.py").write_text(text)
    assert recipe_of("--recipe", str(tmp_path / "mine.py")).seed == 9


@pytest.mark.parametrize(
    "text", ("1 / 0", "assert False", "raise SystemExit('bye')", "a.b", "(", "[][1]")
)
def test_a_recipe_file_that_fails_in_any_way_is_one_line(tmp_path, text):
    (tmp_path / "mine.py").write_text(text + "\n")
    with pytest.raises(UserError, match=r"mine\.py: \w+: ") as mistake:
        recipe_of("--recipe", str(tmp_path / "mine.py"))
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("flag", ("--images", "--val-images", "--val-annotations", "--class-list"))
def test_a_part_of_the_data_alone_is_one_line_that_names_the_rest(flag):
    with pytest.raises(UserError, match=f"{flag} here: name --annotations as well"):
        recipe_of(flag, "here")


@pytest.mark.parametrize(
    "typed, hint",
    (
        ("--epoch", "--epoch is not known here; did you mean --epochs?"),
        ("--warm-up", "--warm-up is not known here; did you mean --warmup?"),
        ("--xyz", "--xyz is not known here; --help lists all flags"),
    ),
)
def test_a_misspelt_flag_is_one_line_with_the_likely_one(typed, hint):
    with pytest.raises(UserError, match=hint.replace("?", r"\?")):
        recipe_of(typed, "3")


@pytest.mark.parametrize(
    "flag, field",
    (
        ("--focal-gamma", "focal_gamma"),
        ("--focal-alpha", "focal_alpha"),
        ("--positive-iou", "positive_iou"),
        ("--box-weight", "box_weight"),
        ("--prior-probability", "prior_probability"),
    ),
)
def test_every_number_of_the_loss_is_a_flag(flag, field):
    assert getattr(recipe_of(flag, "0.55"), field) == 0.55


def test_epochs_are_counted_in_iterations_with_their_milestones():
    recipe = resolve.in_iterations(
        Recipe(epochs=10, milestone_epochs=(6, 8), batch=4, iterations=0), 42
    )
    assert (recipe.iterations, recipe.milestones, recipe.epochs) == (100, (60, 80), 0)
    assert resolve.in_iterations(recipe, 7) == recipe


def test_only_in_training_does_the_learning_rate_follow_the_batch():
    recipe = Recipe(batch=8, lr=0.002)
    in_training = options.train_parser("").parse(["--batch", "4"])
    assert resolve.with_flags(recipe, in_training).lr == 0.001
    assert resolve.with_flags(recipe, argparse.Namespace(batch=4)).lr == 0.002


def test_a_recipe_of_no_iterations_may_get_some():
    recipe = resolve.with_flags(
        Recipe(iterations=0), options.train_parser("").parse(["--iters", "7"])
    )
    assert recipe.iterations == 7


def test_a_recipe_file_of_no_iterations_is_one_line(tmp_path):
    path = tmp_path / "my.py"
    path.write_text("from utils.recipe import Recipe\nrecipe = Recipe(iterations=0)")
    with pytest.raises(UserError, match="my.py: 0 iterations; must be at least 1"):
        fitted("--recipe", str(path))


@pytest.mark.parametrize(
    "typed, sizes",
    (
        ("--finest-stride 8", RECIPES["shapes"].prior_sizes[1:]),
        ("--dataset widerface --finest-stride 4", ()),
    ),
)
def test_sizes_that_are_listed_for_a_level_left_out_are_dropped(typed, sizes):
    flags = options.train_parser("").parse(typed.split())
    assert resolve.asked_recipe(flags).prior_sizes == sizes
    flags.model, flags.dataset = "ssd300", "yolo"
    assert resolve.asked_recipe(flags).prior_sizes == RECIPES["ssd300_custom"].prior_sizes


# What a run says of its recipe.


def test_a_recipe_of_ours_is_its_name_alone():
    assert (
        resolve.describe_recipe(RECIPES["retinanet_voc"]) == "as retinanet_voc in utils/recipes.py"
    )


def test_what_differs_is_told_and_what_has_no_effect_is_not(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = resolve.describe_recipe(RECIPES["shapes"] | dict(batch=4, milestones=(1, 2)))
    assert text == "as shapes in utils/recipes.py, but with  batch=4"
    text = resolve.describe_recipe(RECIPES["ssd300_voc"] | dict(depth=18, resize=9, lr=0.5))
    assert text == "as ssd300_voc in utils/recipes.py, but with  lr=0.5"


def test_it_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    changed = RECIPES["retinanet_custom"] | dict(
        batch=3, depth=18, resize=320, iterations=77, ema=0.9, seed=5, root="some/where/else"
    )
    assert max(map(len, resolve.describe_recipe(changed).splitlines())) <= 60


def test_a_range_of_no_sides_is_named_as_it_was_typed():
    with pytest.raises(UserError, match="--jitter .0, 0.: must be two numbers over 0"):
        fitted("--root", "mine", "--jitter", "0", "0")


@pytest.mark.parametrize(
    "recipe, change, is_other",
    (
        ("retinanet_coco", dict(resize=400), True),
        ("ssd300_coco", dict(resize=400), False),
        ("ssd300_coco", dict(metric="voc12"), True),
        ("ssd300_coco", dict(root="other"), False),
        ("retinanet_coco", dict(lr=1.0), False),
    ),
)
def test_results_are_compared_unless_they_are_measured_in_another_way(recipe, change, is_other):
    before = RECIPES[recipe]
    assert resolve.changes_results(before, before | change) == is_other


def test_more_iterations_of_a_resumed_run_move_no_drop_of_lr():
    before = dict(iterations=1000, warmup=100, lr_schedule="milestones", milestones=(200, 400))
    for more in ("2000", "1000"):
        recipe = stored("--iters", more, **before)
        assert recipe.milestones == (200, 400) and recipe.warmup == 100
    assert stored("--iters", "2000", "--milestones", "900", **before).milestones == (900,)
    # In a shorter one, they would never come.
    assert stored("--iters", "500", **before).milestones == (100, 200)
