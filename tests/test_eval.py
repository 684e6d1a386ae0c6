"""eval.py evaluates what was asked, and says what that was."""

import json
import re

import pytest

from data import shapes
from tests.conftest import write_coco
from tests.scripts import run_script

FLAGS = "--resize 64 --batch 4 --workers 0 --iters 30 --eval-every 30 --no-augment --warmup 5"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A detector of drawn shapes that has learned a little -> its checkpoint; data lie
    beside it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data/annotations").mkdir(parents=True)
    for part, split in enumerate(("train", "val")):
        (folder / "data" / split).mkdir()
        content = json.dumps(shapes.draw_split(folder / "data" / split, 12, part))
        (folder / f"data/annotations/instances_{split}.json").write_text(content)
    arguments = ["--recipe", "shapes", "--dataset", "coco", "--root", folder / "data"]
    run_script("train.py", *arguments, *FLAGS.split(), "--save-folder", folder, "--name", "run")
    return folder / "run/last.pth"


def evaluated(checkpoint, *arguments, code=0):
    """What eval.py prints -> words by their names, and the whole of it."""
    output = checkpoint.parent / f"eval{len(list(checkpoint.parent.iterdir())):03}"
    printed = run_script("eval.py", checkpoint, *arguments, "--output", output, code=code)
    return dict(re.findall(r"^(\w+) +(.+)$", printed, flags=re.M)), printed


def ap_of(printed, name):
    """The AP of a class in the printed table."""
    return re.search(rf"^{name} +\d+ +(\S+)", printed, flags=re.M)[1]


def test_it_says_what_was_evaluated_and_how(trained):
    words, _ = evaluated(trained)
    assert words["dataset"].startswith("coco ") and words["split"] == "val"
    assert words["images"] == "12" and int(words["objects"]) > 20 and words["iteration"] == "30"
    assert words["model"] == "retinanet-18" and words["checkpoint"] == str(trained)
    assert words["classes"].startswith("3: ")
    assert words["score_threshold"] == "0.05" and words["precision"] in ("bfloat16", "float32")
    report = json.loads((sorted(trained.parent.glob("eval*"))[-1] / "metrics.json").read_text())
    assert report["split"] == "val" and report["images"] == 12 and "AP" in report["metrics"]


def test_its_advice_is_that_of_the_training_s_end(trained):
    _, printed = evaluated(trained)
    given = json.loads((trained.parent / "metrics.json").read_text())["advice"]
    assert given and all(f"advice: {sentence[:40]}" in printed for sentence in given)
    assert printed.count("advice: ") == len(given)


def test_another_precision_is_said(trained):
    assert evaluated(trained, "--precision", "float32")[0]["precision"] == "float32"


@pytest.mark.long
def test_the_training_images_are_evaluated_as_they_are(trained):
    """The same pictures as train, under the name of all, give the same figures: none is
    augmented."""
    data = trained.parents[1] / "data"
    train, _ = evaluated(trained, "--split", "train")
    annotations = data / "annotations/instances_train.json"
    whole, _ = evaluated(trained, "--images", data / "train", "--annotations", annotations)
    assert whole["split"] == "all" and whole["images"] == train["images"] == "12"
    assert whole["AP50"] == train["AP50"]


def test_a_typed_root_replaces_stored_files(trained, tmp_path):
    write_coco(tmp_path, [[(1, 1, 40, 40, 0)]] * 3, names=("ellipse", "triangle"), split="val")
    words, _ = evaluated(trained, "--root", tmp_path, "--split", "all")
    assert words["images"] == "3" and str(tmp_path) in words["dataset"]


def test_classes_are_matched_by_name_whatever_their_order(trained):
    _, plain = evaluated(trained)
    _, turned = evaluated(trained, "--classes", "triangle", "ellipse", "rectangle")
    _, alone = evaluated(trained, "--classes", "ellipse")
    for name in ("triangle", "ellipse", "rectangle"):
        assert ap_of(plain, name) == ap_of(turned, name)
    assert (
        ap_of(alone, "ellipse") == ap_of(plain, "ellipse")
        and "no objects of: rectangle, triangle" in alone
    )


@pytest.mark.long
def test_a_class_that_the_model_does_not_know_is_an_error_with_both_lists(trained, tmp_path):
    _, printed = evaluated(trained, "--classes", "cat", code=2)
    assert "--classes cat: the detector knows rectangle, ellipse, triangle" in printed
    write_coco(tmp_path, [[(1, 1, 40, 40, 0), (5, 5, 30, 30, 1)]] * 9, names=("ellipse", "cat"))
    _, printed = evaluated(trained, "--root", tmp_path, code=2)
    assert "the detector does not know cat" in printed and "rectangle, ellipse" in printed
    _, printed = evaluated(trained, "--root", tmp_path, "--classes", "ellipse", "--split", "all")
    assert ap_of(printed, "ellipse") != "n/a" and "AR_" not in printed


def test_a_split_that_is_not_there_is_an_error_with_those_that_are(trained):
    _, printed = evaluated(trained, "--split", "minival", code=2)
    assert "no split 'minival'" in printed and "there are train, val, all" in printed


@pytest.mark.long
def test_resuming_with_another_detector_or_other_classes_is_one_line(trained, tmp_path):
    before = trained.read_bytes()
    for arguments in (("--depth", "34"), ("--model", "ssd300"), ("--optimizer", "sgd")):
        printed = run_script("train.py", "--resume", trained, *arguments, code=2)
        assert f"--resume with {arguments[0]} {arguments[1]}: the checkpoint has" in printed
    names = ("rectangle", "ellipse", "triangle", "cat")
    write_coco(tmp_path, [[(1, 1, 40, 40, i) for i in range(4)]] * 9, names=names, ids=(1, 2, 3, 4))
    printed = run_script("train.py", "--resume", trained, "--root", tmp_path, code=2)
    assert "classes that the checkpoint does not know: cat" in printed
    assert trained.read_bytes() == before


def test_the_best_checkpoint_holds_the_threshold_that_detect_draws_at(trained, tmp_path):
    photos = trained.parents[1] / "data/val"
    drawn = run_script(
        "detect.py", trained.with_name("best.pth"), photos, "--output", tmp_path / "a"
    )
    best, _ = evaluated(trained.with_name("best.pth"))
    threshold = re.search(r"at score ([\d.]+)", best["best"])[1]
    assert f"with a score of at least {threshold}" in drawn
    other = run_script(
        "detect.py", trained, photos, "--score-threshold", "0.9", "--output", tmp_path / "b"
    )
    assert "with a score of at least 0.90" in other


def test_suspects_are_a_list_and_a_picture(trained, tmp_path):
    printed = run_script("eval.py", trained, "--suspects", "--output", tmp_path / "out")
    lines = (tmp_path / "out/suspects.csv").read_text().splitlines()
    assert lines[0].startswith("rank,image,left,top,right,bottom,annotated,detected")
    objects = int(re.search(r"^objects +(\d+)", printed, flags=re.M)[1])
    assert len(lines) > objects and (tmp_path / "out/suspects.jpg").exists()
    assert len((tmp_path / "out/per_image.csv").read_text().splitlines()) == 1 + 12
    assert "not overwritten" in run_script(
        "eval.py", trained, "--suspects", "--output", tmp_path / "out", code=2
    )


def test_given_annotations_of_train_and_val_eval_takes_those_of_val(trained):
    folder = trained.parents[1] / "data/annotations"
    flags = ("--annotations", folder / "instances_train.json")
    flags += ("--val-annotations", folder / "instances_val.json", "--images", folder.parent)
    words, _ = evaluated(trained, *flags)
    assert words["split"] == "val" and words["images"] == "12"
