"""Runs of the scripts as a user starts them, on datasets of a few images."""

import json
from types import SimpleNamespace

import pytest
import torch

from data.text import UserError
from tests.conftest import write_coco, write_image
from tests.scripts import run_script
from train import Autocast, build, main, resume_from, state_to_resume
from utils import checkpoint, parallel
from utils.build import build_average
from utils.log import read_log
from utils.predict import forward
from utils.recipes import RECIPES
from utils.steps import Plateau

OBJECTS = [[(10, 20, 30, 40, 1)], [], [(0, 0, 50, 50, 0), (5, 5, 9, 9, 1)], [(40, 10, 50, 50, 0)]]
SMALL = "--recipe shapes --dataset coco --weights none --resize 64 --batch 2 --workers 0".split()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run -> (its folder, the dataset's folder, what was printed)."""
    folder = tmp_path_factory.mktemp("run")
    write_coco(folder / "data", OBJECTS)
    write_coco(folder / "data", OBJECTS[:2], split="val")
    printed = run_script(
        "train.py",
        *SMALL,
        "--root",
        folder / "data",
        "--iters",
        "6",
        "--save-every",
        "2",
        "--save-folder",
        folder,
        "--name",
        "run",
    )
    return folder / "run", folder / "data", printed


def test_a_run_leaves_checkpoints_curves_log_and_pictures(trained):
    run, _, printed = trained
    for name in (
        "best.pth",
        "last.pth",
        "curves.png",
        "predictions.jpg",
        "detections.json",
        "log.jsonl",
        "recipe.json",
    ):
        assert (run / name).stat().st_size > 0
        assert name in printed or name in ("last.pth", "log.jsonl", "recipe.json")
    assert checkpoint.load(run / "last.pth")["iteration"] == 6
    evaluation, training = read_log(run / "log.jsonl")[-2:]
    assert evaluation["AP"] is not None and training["iteration"] == 6
    # Six iterations of two images, of four; as many of them are evaluated as of the others.
    assert training["passes"] == 3 and 0 <= training["train_AP50"] <= 1
    assert isinstance(json.loads((run / "metrics.json").read_text())["advice"], list)


def test_eval_reports_what_training_reported(trained):
    run, data, _ = trained
    printed = run_script("eval.py", run / "last.pth", "--output", run / "eval")
    reported = read_log(run / "log.jsonl")[-2]
    assert f"AP          {reported['AP']:.3f}" in printed
    assert {
        one["category_id"] for one in json.loads((run / "eval/detections.json").read_text())
    } <= {1, 2}


def test_detect_draws_files_and_folders(trained, tmp_path):
    run, data, _ = trained
    write_image(tmp_path / "photos/sub/a.png")
    printed = run_script(
        "detect.py",
        run / "last.pth",
        tmp_path / "photos",
        data / "train2017/0.jpg",
        "--score-threshold",
        "0.01",
        "--output",
        tmp_path / "drawn",
        "--json",
        tmp_path / "found.json",
    )
    assert (tmp_path / "drawn/sub/a.png").exists() and (tmp_path / "drawn/0.jpg").exists()
    assert {one["class"] for one in json.loads((tmp_path / "found.json").read_text())} <= {
        "cat",
        "dog",
    }
    assert "detections, drawn into" in printed


def test_a_run_is_never_overwritten(trained):
    run, data, _ = trained
    printed = run_script(
        "train.py", *SMALL, "--root", data, "--save-folder", run.parent, "--name", "run", code=2
    )
    assert f"holds a run: go on with --resume {run}" in printed


def test_a_dataset_without_any_object_is_an_error_before_training(tmp_path):
    write_coco(tmp_path / "data", [[], [], []])
    write_coco(tmp_path / "data", OBJECTS, split="val")
    arguments = ["--root", tmp_path / "data", "--save-folder", tmp_path, "--name", "run"]
    printed = run_script("train.py", *SMALL, *arguments, code=2)
    where = f"error: {tmp_path / 'data'}: "
    assert where + "no object of any class in train" in printed
    assert not (tmp_path / "run").exists()


def test_without_an_object_in_the_validation_images_the_last_weights_are_the_result(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    write_coco(tmp_path / "data", [[], []], split="val")
    arguments = ["--root", tmp_path / "data", "--save-folder", tmp_path, "--name", "run"]
    printed = run_script("train.py", *SMALL, *arguments, "--iters", "3", "--val-iters", "1")
    assert "nothing is validated" in printed and "no object of any class in val" in printed
    assert not (tmp_path / "run/best.pth").exists()
    assert "n/a" in run_script("eval.py", tmp_path / "run/last.pth")
    photos = tmp_path / "data/val2017"
    run_script("detect.py", tmp_path / "run/last.pth", photos, "--output", tmp_path / "drawn")


def test_one_class_and_one_image_will_do_where_nothing_is_validated(tmp_path):
    write_coco(tmp_path / "data", OBJECTS[:1], names=("only", "other"))
    arguments = ["--root", tmp_path / "data", "--save-folder", tmp_path, "--name", "run"]
    printed = run_script("train.py", *SMALL, *arguments, "--iters", "2", "--val-share", "0")
    assert "none is validated on" in printed and "run/last.pth" in printed
    assert checkpoint.load(tmp_path / "run/last.pth")["classes"] == ["other"]


@pytest.mark.parametrize(
    "arguments, message",
    (
        (
            ("train.py", "--dataset", "coco", "--root", "nowhere", "--depth", "50"),
            "error: no such folder: .*nowhere",
        ),
        (("train.py", "--resume", "nowhere.pth"), "error: nowhere.pth: no such checkpoint"),
        (("eval.py", "nowhere.pth"), "error: nowhere.pth: no such checkpoint"),
        (("detect.py", "nowhere.pth", "nothing.jpg"), "error: nothing.jpg: no such file or folder"),
        (
            ("train.py", "--save-folder", "/dev/null/runs"),
            "error: /dev/null/runs/retinanet_shapes: cannot be made",
        ),
    ),
)
def test_a_mistake_is_one_line_and_exit_code_two(arguments, message, tmp_path):
    printed = run_script(*arguments, code=2, cwd=tmp_path)
    assert "Traceback" not in printed
    import re

    assert re.search(message, printed)


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(trained, tmp_path):
    run, data, _ = trained
    printed = run_script(
        "train.py",
        *SMALL,
        "--root",
        data,
        "--iters",
        "4",
        "--save-every",
        "1",
        "--save-folder",
        tmp_path,
        "--name",
        "run",
        "--lr",
        "1e18",
        "--warmup",
        "0",
        code=2,
    )
    assert (
        "the loss or its gradient is not finite at iteration" in printed and "train2017/" in printed
    )
    weights = checkpoint.load(tmp_path / "run/last.pth")["model"].values()
    assert all(value.isfinite().all() for value in weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe, images, iterations",
    (
        pytest.param("shapes", 4, 120, marks=pytest.mark.long),
        pytest.param("ssd300_shapes", 2, 55, marks=pytest.mark.long),
    ),
)
def test_a_few_images_are_learnt_by_heart(tmp_path, recipe, images, iterations):
    run_script(
        "train.py",
        "--recipe",
        recipe,
        "--dataset",
        "coco",
        "--name",
        "run",
        "--iters",
        iterations,
        "--batch",
        images,
        "--lr",
        "3e-4",
        "--root",
        some_shapes(tmp_path, images),
        "--eval-every",
        "999",
        "--workers",
        "0",
        "--no-augment",
        "--val-share",
        "0",
        "--save-folder",
        tmp_path,
    )
    printed = run_script("eval.py", tmp_path / "run/last.pth", "--split", "all")
    line = next(line for line in printed.splitlines() if line.startswith("AP50"))
    assert float(line.split()[1]) > 0.9


def some_shapes(folder, count):
    """A dataset of a few drawn images."""
    from data import shapes

    (folder / "shapes/annotations").mkdir(parents=True)
    (folder / "shapes/images").mkdir()
    content = json.dumps(shapes.draw_split(folder / "shapes/images", count, part=7))
    (folder / "shapes/annotations/all.json").write_text(content)
    return folder / "shapes"


def test_weights_that_cannot_be_fetched_are_named(monkeypatch, tmp_path):
    from published import weights as pretrained
    from retinanet import RetinaNet

    def offline(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    with pytest.raises(
        UserError,
        match=r"cannot be fetched .*: put \S*resnet50-\w+.pth there, .* --weights none",
    ):
        pretrained.load_weights(
            RetinaNet(2), None, RECIPES["retinanet_coco"], pretrained.Weights({})
        )


class SeesItsType(torch.nn.Conv2d):
    """A model that remembers the type of the numbers it computed."""

    def __init__(self):
        super().__init__(3, 1, 1)

    def forward(self, images):
        result = super().forward(images)
        self.type = result.dtype
        return result, result


@pytest.mark.parametrize(
    "precision, expected",
    (("bf16", torch.bfloat16), ("fp16", torch.float16), ("float32", torch.float32)),
)
def test_every_precision_that_may_be_asked_for_is_what_a_network_computes_in(precision, expected):
    model, images = SeesItsType(), torch.zeros(1, 3, 8, 8)
    dtype = parallel.precision_of(precision, images.device)
    for predictions in (Autocast(model, dtype)(images), forward(model, images, precision)):
        assert model.type == expected
        assert all(prediction.dtype == torch.float32 for prediction in predictions)


def build_parts(precision):
    recipe = RECIPES["shapes"] | dict(precision=precision)
    model, _, _, optimizer, scaler = build(
        recipe, SimpleNamespace(classes=["cat"]), torch.device("cpu")
    )
    return model, dict(optimizer=optimizer, scaler=scaler, plateau=Plateau(recipe, per_epoch=1))


def content_of(model, parts):
    return dict(model=model.state_dict(), iteration=3) | state_to_resume(
        parts, 0.5, 1, SimpleNamespace(largest_step=0.25)
    )


def scale_of(parts):
    return parts["scaler"].scale(torch.ones(())).item()


def test_float16_s_scale_is_what_it_was():
    model, parts = build_parts("fp16")
    untouched = scale_of(parts)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    parts["scaler"].unscale_(parts["optimizer"])
    parts["scaler"].update()
    other, other_parts = build_parts("fp16")
    assert resume_from(content_of(model, parts), other, other_parts) == (3, 0.5, 1, 0.25)
    assert scale_of(other_parts) == scale_of(parts) == untouched / 2


@pytest.mark.parametrize("before, after", (("fp16", "float32"), ("float32", "fp16")))
def test_a_run_may_go_on_where_another_precision_is_fast(before, after):
    model, parts = build_parts(after)
    assert resume_from(content_of(*build_parts(before)), model, parts)[0] == 3
    assert scale_of(parts) == scale_of(build_parts(after)[1])


def test_without_its_average_a_run_goes_on_from_the_weights_that_it_trained():
    model, parts = build_parts("float32")
    average = build_average(model, 0.9)
    average.update_parameters(model)
    with torch.no_grad():
        model.box_head.last.bias += 1
    content = content_of(average.module, parts | dict(ema=average, training=model))
    other, other_parts = build_parts("float32")
    resume_from(content, other, other_parts)
    assert torch.equal(other.box_head.last.bias, model.box_head.last.bias)


def test_what_a_run_reports_is_its_best_checkpoint_and_a_finished_run_reports_again(trained):
    run, _, _ = trained
    before = json.loads((run / "metrics.json").read_text())
    best = checkpoint.load(run / "best.pth")
    assert (
        before["iteration"] == best["iteration"]
        and before["metrics"]["AP"] == best["metrics"]["AP"]
    )
    (run / "metrics.json").unlink()
    run_script("train.py", "--resume", run / "last.pth")
    assert json.loads((run / "metrics.json").read_text())["metrics"] == before["metrics"]


def build_model(recipe):
    """The model as it begins to learn; weights of a file are not loaded."""
    return build(recipe, SimpleNamespace(classes=["cat", "dog"]), torch.device("cpu"))[0]


def test_frozen_stages_do_not_learn():
    for name, first in (("shapes", "base.conv1.weight"), ("ssd300_shapes", "base.conv1.0.weight")):
        recipe = RECIPES[name] | dict(frozen_stages=2, weights="imagenet")
        model = build_model(recipe)
        frozen = [name for name, value in model.named_parameters() if not value.requires_grad]
        assert first in frozen and len(frozen) < len(list(model.parameters())) / 2


def test_random_weights_are_not_kept_from_learning():
    recipe = RECIPES["shapes"] | dict(frozen_stages=2, frozen_norm=True, weights="none")
    model = build_model(recipe)
    assert all(value.requires_grad for value in model.parameters())
    assert all(norm.training for norm in model.base.norms())


@pytest.mark.parametrize("name", ("shapes", "ssd300_shapes"))
@pytest.mark.parametrize("frozen_norm", (True, False))
def test_with_weights_the_batch_norm_of_a_resnet_alone_is_frozen(name, frozen_norm):
    recipe = RECIPES[name] | dict(weights="any.pth", vgg_norm="batch", frozen_norm=frozen_norm)
    model = build_model(recipe | dict(frozen_stages=0))
    norms = model.base.norms()
    is_frozen = frozen_norm and name == "shapes"
    assert norms and all(norm.training != is_frozen for norm in norms)
    assert all(norm.weight.requires_grad != is_frozen for norm in norms)


@pytest.mark.long
def test_it_trains_from_python_and_a_mistake_is_an_exception(tmp_path):
    write_coco(tmp_path / "data", OBJECTS)
    words = [*SMALL, "--root", str(tmp_path / "data"), "--save-folder", str(tmp_path)]
    assert main([*words, "--name", "run", "--iters", "2"]) == 0
    assert checkpoint.load(tmp_path / "run/best.pth")["iteration"] == 2
    with pytest.raises(UserError, match="--itres is not known here; did you mean --iters"):
        main([*words, "--itres", "2"])
