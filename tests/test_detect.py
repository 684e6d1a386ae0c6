import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import detect
from data.dataset import Dataset
from data.reading import read_folder
from data.text import UserError
from data.write import WRITERS
from tests.conftest import read_split, write_coco, write_image
from tests.scripts import run_script
from tests.test_detector import save_random_detector
from tests.test_media import write_video
from tests.test_write import save_rotated
from utils.media import VideoInput


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint of random weights, a COCO folder of five images, and a video."""
    folder = tmp_path_factory.mktemp("detect")
    save_random_detector(folder / "best.pth")
    objects = [[(10, 10, 20, 20, 0), (50, 20, 30, 30, 1)]] * 5
    write_coco(folder / "set", objects, "val", ids=(7, 9))
    write_video(folder / "clip.mp4")
    return folder


def run(folder, monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["detect.py", str(folder / "best.pth"), *map(str, arguments)])
    return detect.main()


def test_a_video_becomes_a_video_and_json(folder, tmp_path, monkeypatch, capsys):
    flags = ("--output", tmp_path / "out", "--json", tmp_path / "a.json", "--score-threshold", 0)
    code = run(folder, monkeypatch, folder / "clip.mp4", *flags, "--every", "2", "--batch", "4")
    assert code == 0
    written = VideoInput(tmp_path / "out/clip.mp4", tmp_path / "copy.mp4")
    assert len(list(written)) == 6 and written.writer.fps == 5
    results = json.loads((tmp_path / "a.json").read_text())
    assert {result["frame"] for result in results} == {0, 2, 4, 6, 8, 10}
    assert {result["video"] for result in results} == {str(folder / "clip.mp4")}


def test_coco_results_have_the_dataset_s_own_ids(folder, tmp_path, monkeypatch):
    flags = ("--annotations", folder / "set/annotations/instances_val2017.json")
    flags += ("--images", folder / "set/val2017", "--coco-json", tmp_path / "coco.json")
    run(folder, monkeypatch, *flags, "--output", tmp_path / "out", "--score-threshold", "0")
    results = json.loads((tmp_path / "coco.json").read_text())
    assert {result["category_id"] for result in results} == {7, 9}
    assert {result["image_id"] for result in results} == set(range(5))
    assert all(len(result["bbox"]) == 4 and min(result["bbox"][2:]) > 0 for result in results)


def test_a_detector_that_was_trained_in_parts_of_a_batch_takes_one_image(tmp_path, monkeypatch):
    write_coco(tmp_path / "set", [[(10, 10, 20, 20, 0), (50, 20, 30, 30, 1)]] * 5, "val")
    save_random_detector(tmp_path / "best.pth", accumulate=2)
    flags = ("--root", tmp_path / "set", "--output", tmp_path / "out")
    assert run(tmp_path, monkeypatch, *flags) == 0 and (tmp_path / "out/4.jpg").exists()
    assert "AP50" in run_script("eval.py", tmp_path / "best.pth", *flags[:2], "--batch", "1")


def test_the_truth_is_drawn_in_white(folder, tmp_path, monkeypatch):
    flags = ("--dataset", "coco", "--root", folder / "set", "--split", "all")
    run(folder, monkeypatch, *flags, "--output", tmp_path / "out", "--score-threshold", "1")
    drawn = cv2.imread(str(tmp_path / "out/0.jpg")).astype(int)
    plain = cv2.imread(str(folder / "set/val2017/0.jpg")).astype(int)
    assert drawn[10, 12:28].min() > 200, "the upper side of the first object"
    assert np.abs(drawn[40:, :40] - plain[40:, :40]).mean() < 10


def test_ignored_objects_are_no_truth(tmp_path):
    write_coco(tmp_path, [[(10, 10, 20, 20, 0), (50, 20, 30, 30, 1)]])
    dataset = Dataset(*read_split("coco", tmp_path), None)
    dataset.records.ignore[0] = True
    ((_, boxes),) = detect.truth_of(dataset).values()
    assert boxes.tolist() == [[50, 20, 80, 50]]


def test_labels_and_truth_of_a_photo_that_was_annotated_before_rotation_fit(tmp_path, monkeypatch):
    write_coco(tmp_path / "set", [[(8, 16, 24, 8, 0)]], height=48, width=80)
    save_random_detector(tmp_path / "best.pth")
    save_rotated(tmp_path / "set/train2017/0.jpg", 6, (8, 16, 32, 24))
    box = np.array([[8, 16, 32, 24]])
    found = dict(boxes=box, scores=np.ones(1), labels=np.zeros(1, int), names=["cat"])
    monkeypatch.setattr(detect.Detector, "detect_batch", lambda *_: [found])
    run(tmp_path, monkeypatch, "--root", tmp_path / "set", "--output", tmp_path / "out")
    assert cv2.imread(str(tmp_path / "out/0.jpg")).shape == (48, 80, 3)
    flags = ("--root", tmp_path / "set", "--labels", "coco", "--output", tmp_path / "new")
    run(tmp_path, monkeypatch, *flags)
    ((entry,),) = read_folder("coco", tmp_path / "new").splits.values()
    assert entry.size == (80, 48) and entry.objects[0][:4] == (24, 8, 32, 32)


def test_only_some_classes_and_so_many_detections(folder, tmp_path, monkeypatch):
    images = folder / "set/val2017"
    flags = ("--score-threshold", "0", "--classes", "dog", "--max-detections", "3")
    run(folder, monkeypatch, images, "--output", tmp_path, "--json", tmp_path / "a.json", *flags)
    results = json.loads((tmp_path / "a.json").read_text())
    assert {result["class"] for result in results} == {"dog"}
    names = [result["image"] for result in results]
    assert {names.count(name) for name in names} == {3}


def test_another_resize_is_used(folder, tmp_path, monkeypatch):
    for side in (64, 96):
        flags = ("--resize", side, "--max-size", 200, "--score-threshold", "0")
        flags += ("--json", tmp_path / f"{side}.json", "--output", tmp_path / f"{side}")
        run(folder, monkeypatch, folder / "set/val2017/0.jpg", *flags)
    assert (tmp_path / "64.json").read_text() != (tmp_path / "96.json").read_text()


def test_a_size_for_another_detector_is_said_to_have_no_effect(tmp_path):
    write_coco(tmp_path / "set", [[(10, 10, 20, 20, 0)]] * 5, "val")
    checkpoint = tmp_path / "best.pth"
    save_random_detector(checkpoint, model="ssd300", prior_sizes=(), prior_ratios=())
    for script, name in (("eval.py", "eval"), ("detect.py", "drawn")):
        flags = ("--root", tmp_path / "set", "--resize", "64", "--output", tmp_path / name)
        printed = run_script(script, checkpoint, *flags).splitlines()
        assert "--resize has no effect: it is for RetinaNet only" in printed


def test_ctrl_c_leaves_a_video_that_can_be_played(folder, tmp_path, monkeypatch, capsys):
    network, calls = detect.Detector.detect_batch, []

    def interrupted(self, arrays, score_threshold):
        calls.append(len(arrays))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return network(self, arrays, score_threshold)

    monkeypatch.setattr(detect.Detector, "detect_batch", interrupted)
    run(folder, monkeypatch, folder / "clip.mp4", "--output", tmp_path, "--json", tmp_path / "j")
    assert len(list(VideoInput(tmp_path / "clip.mp4", "copy.mp4"))) == 4
    assert "stopped" in capsys.readouterr().err and (tmp_path / "j").exists()


@pytest.fixture
def photos(tmp_path):
    """Three photos, of which two have the same name."""
    for seed, name in enumerate(("a/1.jpg", "b/1.jpg", "b/2.jpg")):
        write_image(tmp_path / "photos" / name, seed=seed)
    return tmp_path / "photos"


@pytest.mark.parametrize("form", WRITERS)
def test_detections_become_a_dataset(form, photos, folder, tmp_path, monkeypatch):
    flags = ("--score-threshold", "0", "--max-detections", "4", "--json", tmp_path / "a.json")
    out = tmp_path / "out"
    assert run(folder, monkeypatch, photos, "--labels", form, "--output", out, *flags) == 0
    source = read_folder("auto", out)
    assert f"--dataset {form}" in source.notes[0] and not source.problems
    entries = {entry.path.rsplit("/", 1)[-1]: entry for entry in source.splits["all"]}
    assert sorted(entries) == ["1.jpg", "2.jpg", "b_1.jpg"]
    results = json.loads((tmp_path / "a.json").read_text())
    expected = [item for item in results if item["image"].endswith("b/1.jpg")]
    objects = entries["b_1.jpg"].objects
    assert [item.name for item in objects] == [item["class"] for item in expected]
    boxes = [item["box"] for item in expected]
    np.testing.assert_allclose([item[:4] for item in objects], boxes, atol=0.6)
    copies, originals = (sorted(map(Path.read_bytes, f.rglob("*.jpg"))) for f in (out, photos))
    assert copies == originals
    if form == "coco":
        content = json.loads((out / "annotations/instances_default.json").read_text())
        scores = [item["score"] for item in content["annotations"]]
        np.testing.assert_allclose(scores, [item["score"] for item in results], atol=1e-4)


def test_the_detections_as_json_may_lie_beside_the_labels(photos, folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    flags = ("--labels", "yolo", "--output", out, "--json", out / "found.json")
    assert run(folder, monkeypatch, photos, *flags) == 0
    assert len(list(out.rglob("*.jpg"))) == 3 and (out / "found.json").exists()


def test_two_outputs_of_one_name_are_refused_before_anything_is_detected(photos, folder, tmp_path):
    for flags in (("--coco-json", tmp_path / "a/1.jpg"), ("--output", tmp_path)):
        command = (folder / "best.pth", photos, "--json", tmp_path / "a/1.jpg", *flags)
        printed = run_script("detect.py", *command, code=2, cwd=tmp_path)
        assert printed.endswith("a/1.jpg: two outputs would have this name\n")
    assert list(tmp_path.iterdir()) == [photos]


def test_images_without_detections_are_in_the_dataset(photos, folder, tmp_path, monkeypatch):
    flags = ("--labels", "yolo", "--output", tmp_path / "out", "--score-threshold", "1")
    run(folder, monkeypatch, photos, *flags)
    (entries,) = read_folder("yolo", tmp_path / "out").splits.values()
    assert len(entries) == 3 and not any(entry.objects for entry in entries)


def test_where_no_image_can_be_read_it_does_not_say_that_labels_are_written(folder, tmp_path):
    (tmp_path / "broken.jpg").write_text("text")
    flags = (folder / "best.pth", tmp_path / "broken.jpg", "--labels", "yolo")
    printed = run_script("detect.py", *flags, "--output", tmp_path / "out", code=1)
    assert "no image was read" in printed and "written" not in printed
    assert not (tmp_path / "out").exists()


def test_labels_are_of_images_and_replace_nothing(photos, folder, tmp_path):
    flags = (folder / "best.pth", photos, "--labels", "coco", "--output", photos)
    assert "not overwritten" in run_script("detect.py", *flags, code=2)
    flags = (folder / "best.pth", folder / "clip.mp4", "--labels", "voc")
    printed = run_script("detect.py", *flags, code=2, cwd=tmp_path)
    assert printed == "error: --labels is for images: save the frames of a video as images first\n"
    assert list(tmp_path.iterdir()) == [photos]
    write_coco(tmp_path, [[(10, 20, 30, 40, 1)]])
    flags = (folder / "best.pth", "--root", tmp_path, "--labels", "yolo")
    printed = run_script("detect.py", *flags, "--output", tmp_path / "new", code=2)
    assert "new lies in the dataset" in printed and not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments, message",
    (
        ((), "name images"),
        (("clip.mp4", "--labels", "csv"), "--labels: invalid choice: 'csv' (choose from 'coco'"),
        (("clip.mp4", "--classes", "cow"), "no class cow: it knows cat, dog"),
        (("clip.mp4", "--every", "0"), "--every 0: must be at least 1"),
        (("clip.mp4", "--batch", "-1"), "--batch -1: must be at least 1"),
        (("clip.mp4", "--resize", "0"), "--resize 0: must be at least 1"),
        (("clip.mp4", "--split", "val"), "--split: name its dataset by --root or --annotations"),
        (("clip.mp4", "--val-share", "0"), "--val-share: name its dataset by --root or"),
        (("clip.mp4", "--images", "abc"), "--images: name its dataset by --root or --annotations"),
        (("nothing.jpg",), "nothing.jpg: no such file or folder"),
    ),
)
def test_a_mistake_is_one_line_and_nothing_is_written(folder, tmp_path, arguments, message):
    arguments = [str(folder / a) if a == "clip.mp4" else a for a in arguments]
    printed = run_script("detect.py", folder / "best.pth", *arguments, code=2, cwd=tmp_path)
    assert printed.startswith("error: ") and message in printed and printed.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_copy_that_is_there_is_not_overwritten(folder, tmp_path):
    (tmp_path / "clip.mp4").write_text("mine")
    arguments = (folder / "best.pth", folder / "clip.mp4", "--output", tmp_path)
    assert "not overwritten" in run_script("detect.py", *arguments, code=2)
    assert (tmp_path / "clip.mp4").read_text() == "mine"


def test_a_copy_that_cannot_be_written_loses_no_detections(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.media.CODECS", {".mp4": "none"})
    inputs = (folder / "set/val2017/0.jpg", folder / "clip.mp4")
    flags = ("--output", tmp_path / "out", "--json", tmp_path / "a.json", "--score-threshold", 0)
    with pytest.raises(UserError, match="no video can be written here"):
        run(folder, monkeypatch, *inputs, *flags)
    assert "0.jpg" in (tmp_path / "a.json").read_text()


def test_labels_are_not_written_among_the_photos_that_they_are_of(photos, folder, monkeypatch):
    flags = ("--labels", "yolo", "--output", photos / "labelled")
    with pytest.raises(UserError, match="labelled lies in .*photos, whose images would be"):
        run(folder, monkeypatch, photos, *flags)
    assert not (photos / "labelled").exists()


def test_a_failure_before_any_detection_leaves_no_file_in_the_way(folder, tmp_path, monkeypatch):
    def failing(self, arrays, score_threshold):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(detect.Detector, "detect_batch", failing)
    flags = ("--output", tmp_path / "out", "--json", tmp_path / "a.json")
    with pytest.raises(torch.OutOfMemoryError):
        run(folder, monkeypatch, folder / "set/val2017/0.jpg", *flags)
    assert not (tmp_path / "a.json").exists()
