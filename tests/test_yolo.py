from pathlib import Path

import pytest
from PIL import Image

from data.formats import yolo
from data.reading import read_folder, read_records
from data.text import UserError
from tests.conftest import read_split, write_image
from utils.recipes import RECIPES

NAMES = ("data.yaml", "names: [cat, dog]")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    "layout",
    (
        "images/{0}/{1}.jpg labels/{0}/{1}.txt",
        "{0}/images/{1}.jpg {0}/labels/{1}.txt",
        "images/{0}/{1}.jpg images/{0}/{1}.txt",
        "{0}/{1}.JPG {0}/{1}.txt",
    ),
)
@pytest.mark.parametrize(
    "names",
    (
        NAMES,
        ("data.yaml", "\ufeffnames:\n  1: dog\n  0: cat\n"),
        ("classes.txt", "cat\ndog\n"),
        ("obj.names", "cat\ndog"),
    ),
)
def test_normalised_coordinates_become_pixels(tmp_path, layout, names):
    write(tmp_path / names[0], names[1])
    for split in ("train", "val"):
        image, label = (tmp_path / part.format(split, "a") for part in layout.split())
        write_image(image)
        write(label, "1 0.5 0.5 0.5 0.25\n0 0.25 0.25 0.1 0.1\n")
        write_image(image.with_name("none.jpg"))
    classes, records = read_split("yolo", tmp_path)
    assert classes == ["cat", "dog"] and len(records) == 2 and not records.problems
    assert records.boxes[0].tolist() == [24, 24, 72, 40] and records.labels.tolist() == [1, 0]


@pytest.mark.parametrize("place", ("../train/images", "train/images", "/content/set/train/images"))
def test_data_yaml_says_where_the_images_are(tmp_path, place):
    for split in ("train", "valid"):
        write_image(tmp_path / f"{split}/images/a.jpg")
        write(tmp_path / f"{split}/labels/a.txt", "0 0.5 0.5 0.5 0.5")
    val = place.replace("train", "valid")
    write(tmp_path / "data.yaml", f"train: [{place}]\nval: {val}\nnames: [x]")
    splits = read_folder("yolo", tmp_path).splits
    assert [entry.path for entry in splits["train"]] == [str(tmp_path / "train/images/a.jpg")]
    assert [entry.path for entry in splits["val"]] == [str(tmp_path / "valid/images/a.jpg")]


def write_set(root, folder, count=2):
    for i in range(count):
        name = f"{folder.replace('/', '_')}{i}"
        write_image(root / f"{folder}/images/{name}.jpg")
        write(root / f"{folder}/labels/{name}.txt", "0 0.5 0.5 0.5 0.5")


def counts(source):
    return {split: len(entries) for split, entries in source.splits.items()}


@pytest.mark.parametrize("home", ("", "set/"))
@pytest.mark.parametrize("renamed", ("val", "validate", "my_validation"))
def test_a_split_that_is_not_where_data_yaml_says_is_found_by_its_name(tmp_path, home, renamed):
    write_set(tmp_path, f"{home}train", count=3)
    write_set(tmp_path, f"{home}{renamed}")
    write(tmp_path / f"{home}data.yaml", "train: ../train/images\nval: ../valid/images\nnames: [x]")
    source = read_folder("yolo", tmp_path)
    assert counts(source) == dict(train=3, val=2)
    note = f"data.yaml: no images of val at ../valid/images; those in {home}{renamed} are taken"
    assert source.notes[0].endswith(note)


@pytest.mark.parametrize("home", ("", "set/"))
@pytest.mark.parametrize("split, word", (("val", "valid"), ("test", "test")))
def test_no_other_images_take_the_part_of_a_missing_split(tmp_path, home, split, word):
    write_set(tmp_path, f"{home}train", count=3)
    write_image(tmp_path / f"{home}images/picture.jpg")
    write_image(tmp_path / f"{home}runs/{word}/drawn.jpg")
    place = f"../{word}/images"
    write(tmp_path / f"{home}data.yaml", f"train: ../train/images\n{split}: {place}\nnames: [x]")
    source = read_folder("yolo", tmp_path)
    assert counts(source) == dict(train=3)
    assert source.notes[0].endswith(f"data.yaml: no images of {split} at {place}")


def test_a_missing_train_is_an_error(tmp_path):
    write_set(tmp_path, "valid")
    write(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: [x]")
    with pytest.raises(
        UserError, match="data.yaml: no images of train at ../train/images: correct"
    ):
        read_folder("yolo", tmp_path)


def test_where_no_place_is_right_the_folders_names_say_the_splits(tmp_path):
    for split in ("train", "valid", "test"):
        write_set(tmp_path, f"set/{split}")
    write(tmp_path / "set/data.yaml", "path: /x\ntrain: a\nval: b\ntest: c\nnames: [x]")
    source = read_folder("yolo", tmp_path)
    assert counts(source) == dict(train=2, val=2, test=2) and len(source.notes) == 3


def test_a_path_in_data_yaml_leads_to_its_places(tmp_path):
    for folder in ("train", "split/train"):
        write_set(tmp_path, folder)
    write(tmp_path / "data.yaml", "path: split\ntrain: train/images\nnames: [x]")
    source = read_folder("yolo", tmp_path)
    assert all("/split/train/" in entry.path for entry in source.splits["train"])
    assert source.notes[0].endswith("do not name: 2, of train0.jpg, train1.jpg")


def test_of_several_data_yaml_the_one_whose_images_are_there_is_taken_and_named(tmp_path):
    for folder in ("a", "b"):
        write_set(tmp_path, f"{folder}/train")
        write(tmp_path / f"{folder}/data.yaml", f"train: ../train/images\nnames: [{folder}]")
    write(tmp_path / "data.yaml", "train: /home/me/elsewhere\nnames: [class_1]")
    source = read_folder("yolo", tmp_path)
    assert source.classes == ["a"] and counts(source) == dict(train=2)
    note = "classes and splits are those of a/data.yaml; not used: b/data.yaml, data.yaml (--root"
    assert source.notes[0].startswith(note)
    assert source.notes[1].endswith("do not name: 2, of b_train0.jpg, b_train1.jpg")


def test_of_several_lists_of_names_the_one_that_is_taken_is_named(tmp_path):
    write_set(tmp_path, "train")
    write(tmp_path / "classes.txt", "x\n")
    write(tmp_path / "old/classes.txt", "y\n")
    notes = read_folder("yolo", tmp_path).notes
    assert notes == ["class names are those of classes.txt; not used: old/classes.txt"]


def test_images_that_no_list_names_are_counted(tmp_path):
    write_set(tmp_path, "photos", count=4)
    write(tmp_path / "classes.txt", "x")
    write(tmp_path / "train.txt", "photos/images/photos0.jpg\n")
    write(tmp_path / "test.txt", "photos/images/photos1.jpg\n")
    source = read_folder("yolo", tmp_path)
    assert counts(source) == dict(train=1, test=1)
    note = (
        "not used: images that data.yaml or the lists do not name: 2, of photos2.jpg, photos3.jpg"
    )
    assert source.notes == [note]


def test_one_folder_for_both_is_read_as_one(tmp_path):
    write_image(tmp_path / "images/train2017/a.jpg")
    write(tmp_path / "labels/train2017/a.txt", "0 0.5 0.5 0.5 0.5")
    text = "path: ../coco128\ntrain: images/train2017\nval: images/train2017\nnames: [x]"
    write(tmp_path / "data.yaml", text)
    assert list(read_folder("yolo", tmp_path).splits) == ["all"]
    write_set(tmp_path, "test")
    write(tmp_path / "data.yaml", f"{text}\ntest: test/images")
    assert counts(read_folder("yolo", tmp_path)) == dict(all=1, test=2)


def test_cvat_s_list_names_images_relative_to_a_folder_above(tmp_path):
    write_image(tmp_path / "obj_train_data/a.jpg")
    write(tmp_path / "obj_train_data/a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "obj.names", "x")
    write(tmp_path / "train.txt", "data/obj_train_data/a.jpg\n")
    assert read_split("yolo", tmp_path)[1].boxes.tolist() == [[24, 16, 72, 48]]


def test_a_label_belongs_to_the_image_of_its_own_folder(tmp_path):
    write(tmp_path / "classes.txt", "x")
    for folder, x in (("first", 0.25), ("second", 0.75)):
        write_image(tmp_path / f"images/{folder}/1.jpg")
        write(tmp_path / f"labels/{folder}/1.txt", f"0 {x} 0.5 0.5 0.5")
    assert read_split("yolo", tmp_path)[1].boxes[:, 0].tolist() == [0, 48]


@pytest.mark.parametrize(
    "mode, place", (("L", "masks"), ("P", "masks"), ("RGB", "masks"), ("RGB", "."))
)
def test_masks_and_copies_elsewhere_are_not_read_with_the_boxes_of_the_photos(
    tmp_path, mode, place
):
    write(tmp_path / "classes.txt", "x")
    for name in "ab":
        write_image(tmp_path / f"images/{name}.jpg")
        write(tmp_path / f"labels/{name}.txt", "0 0.5 0.5 0.5 0.5")
        (tmp_path / place).mkdir(exist_ok=True)
        Image.new(mode, (96, 64)).save(tmp_path / place / f"{name}.png")
    source = read_folder("auto", tmp_path)
    assert [Path(entry.path).parent.name for entry in source.splits["all"]] == ["images"] * 2
    assert "not used: masks, and images elsewhere" in source.notes[1]
    assert source.notes[1].endswith(": 2, of a.png, b.png")


def test_labels_are_not_those_of_a_farther_image_of_their_name(tmp_path):
    write(tmp_path / "data.yaml", "train: [images/a, images/b]\nnames: [x]")
    write(tmp_path / "labels/a/1.txt", "0 0.5 0.5 0.5 0.5")
    for folder in "ab":
        write_image(tmp_path / f"images/{folder}/1.jpg")
    entries = read_folder("yolo", tmp_path).splits["train"]
    assert [len(entry.objects) for entry in entries] == [1, 0]


def test_labels_of_two_images_that_are_equally_near_are_a_problem(tmp_path):
    write(tmp_path / "classes.txt", "x")
    write(tmp_path / "labels/1.txt", "0 0.5 0.5 0.5 0.5")
    for seed, folder in enumerate(("photos", "drawings")):
        write_image(tmp_path / f"{folder}/1.jpg", seed=seed)
    problems = read_folder("yolo", tmp_path).problems
    assert "1.txt: two images could be meant: drawings/1.jpg and photos/1.jpg" in problems[0]
    write_image(tmp_path / "drawings/1.jpg")
    # Copies of one picture have the same objects.
    assert [len(entry.objects) for entry in read_folder("yolo", tmp_path).splits["all"]] == [1, 1]


def test_of_a_polygon_the_box_is_taken(tmp_path):
    write(tmp_path / "data.yaml", NAMES[1])
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.25 0.75 0.5 0.5 0.75\n0 0.5 0.5 0.5 0.25\n")
    boxes = read_split("yolo", tmp_path)[1].boxes.tolist()
    assert boxes == [[48, 16, 72, 48], [24, 24, 72, 40]]


def test_of_keypoints_the_box_is_taken_and_without_kpt_shape_it_is_asked_for(tmp_path):
    write_image(tmp_path / "a.jpg")
    keypoints = " ".join(["0.3 0.3"] * 17)
    write(tmp_path / "a.txt", f"0 0.5 0.5 0.5 0.25 {keypoints}\n" * 3)
    write(tmp_path / "data.yaml", "names: [x]\nkpt_shape: [17, 2]")
    assert read_split("yolo", tmp_path)[1].boxes[0].tolist() == [24, 24, 72, 40]
    write(tmp_path / "data.yaml", "names: [x]")
    with pytest.raises(UserError, match="39 numbers.*kpt_shape"):
        read_folder("yolo", tmp_path)


def test_two_classes_of_one_name_are_one_class_and_said(tmp_path):
    write(tmp_path / "data.yaml", "names: [x, x]")
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.25 0.25")
    classes, records = read_split("yolo", tmp_path)
    assert (
        classes == ["x"]
        and len(records.boxes) == 2
        and "two classes are named 'x'" in records.notes
    )


@pytest.mark.parametrize(
    "line, problem",
    (
        ("0 0.5 0.5", "line 1: expected class cx cy w h, found 3 numbers"),
        ("0 0.5 0.5 a b", "line 1: expected class cx cy w h, found '0 0.5 0.5 a b'"),
        ("7 0.5 0.5 0.1 0.1", "line 1: class 7, but there are 1 names"),
        ("1 0.5 0.5 0.1 0.1", "there are 1 names; do the numbers start at 1?"),
    ),
)
def test_a_wrong_line_is_named(tmp_path, line, problem):
    write_image(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", line)
    write(tmp_path / "classes.txt", "x")
    assert read_folder("yolo", tmp_path).problems[0].endswith(problem)


def test_images_without_a_label_file_are_counted(tmp_path):
    write(tmp_path / "classes.txt", "x")
    for name in "ab":
        write_image(tmp_path / f"{name}.jpg")
    notes = read_folder("yolo", tmp_path).notes
    what = "images without a label file, taken for images without objects"
    assert notes == [f"{what}: 2, of a.jpg, b.jpg"]


@pytest.mark.parametrize("text", ("names: [", "[]", "names: {0: a, 2: b}"))
def test_a_broken_data_yaml_is_named(tmp_path, text):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "data.yaml", text + "  # names")
    with pytest.raises(UserError, match="data.yaml"):
        yolo.read(yolo_folder(tmp_path))


def yolo_folder(root):
    from data.folder import Folder

    return Folder(root)


def test_without_names_classes_are_called_by_their_numbers(tmp_path):
    write_image(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "12 0.5 0.5 0.5 0.5\n3 0.5 0.5 0.1 0.1")
    source = read_folder("auto", tmp_path)
    assert source.classes == ["3", "12"] and "called by their numbers" in source.notes[0]


@pytest.mark.parametrize("names", ("[no, yes]", "{0: no, 1: yes}", "[0x1, 1e3]"))
def test_names_that_yaml_takes_for_values_are_names(tmp_path, names):
    write_image(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "data.yaml", f"train: images\nval:\nnames: {names}\n")
    expected = ["0x1", "1e3"] if "x" in names else ["no", "yes"]
    assert read_folder("yolo", tmp_path).classes == expected


@pytest.mark.parametrize("with_box", ("", "0.3 0.5 0.4 0.2 "))
def test_a_polygon_may_have_its_box_before_it(tmp_path, with_box):
    write_image(tmp_path / "images/a.jpg", height=100, width=100)
    write(tmp_path / "labels/a.txt", f"0 {with_box}0.1 0.4 0.5 0.4 0.3 0.6")
    write(tmp_path / "data.yaml", "names: [cat]")
    boxes = read_split("yolo", tmp_path)[1].boxes
    assert boxes.round(3).tolist() == [[10, 40, 50, 60]]


@pytest.mark.parametrize("track", ("1", "2", "117"))
def test_the_score_and_the_number_of_a_track_are_no_corner(tmp_path, track):
    write_image(tmp_path / "images/a.jpg", height=100, width=100)
    write(tmp_path / "labels/a.txt", f"0 0.3 0.5 0.6 0.2 0.875 {track}\n")
    write(tmp_path / "data.yaml", "names: [cat]")
    assert read_split("yolo", tmp_path)[1].boxes.round(3).tolist() == [[0, 40, 60, 60]]


@pytest.mark.parametrize(
    "line", ("0.5 0 1 1 0 1", "0.3 0.5 0.5 0.8 0.2 1.0", "0.2 0.5 0.4 0.9 0.3 0")
)
def test_a_triangle_that_touches_the_border_is_a_triangle(tmp_path, line):
    write_image(tmp_path / "images/a.jpg", height=100, width=100)
    write(tmp_path / "labels/a.txt", f"0 {line}\n")
    write(tmp_path / "data.yaml", "names: [cat]")
    x, y = [[100 * float(word) for word in line.split()[start::2]] for start in (0, 1)]
    (box,) = read_split("yolo", tmp_path)[1].boxes.round(3).tolist()
    assert box == [min(x), min(y), max(x), max(y)]


def test_each_image_that_a_list_names_and_is_not_there_is_a_problem(tmp_path):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "classes.txt", "cat")
    write(tmp_path / "train.txt", "a.jpg\nb.jpg\nc.jpg")
    source = read_folder("yolo", tmp_path)
    assert len(source.splits["train"]) == 1 and len(source.problems) == 2
    assert source.problems[0].endswith("train.txt: no such image: b.jpg")


def test_only_the_folder_of_images_is_taken_for_that_of_labels(tmp_path):
    for camera in ("cam1_images", "cam2_images"):
        write_image(tmp_path / f"{camera}/images/0.jpg")
        write(tmp_path / f"{camera}/labels/0.txt", "0 0.5 0.5 0.2 0.2\n")
    write(tmp_path / "classes.txt", "cat\n")
    source = read_folder("yolo", tmp_path)
    assert [len(entry.objects) for entry in source.splits["all"]] == [1, 1]


@pytest.mark.parametrize(
    "place, message",
    (
        ("../other/images", "which lies outside the folder: use --root"),
        ("../gone/images", "train and val lead to the same images"),
    ),
)
@pytest.mark.parametrize("path", ("", "path: ..\n"))
def test_a_place_outside_is_never_taken_for_one_inside(tmp_path, place, message, path):
    for name in ("other", "set"):
        write_image(tmp_path / name / "images/a.jpg", seed=len(name))
        write(tmp_path / name / "labels/a.txt", "0 0.5 0.5 0.5 0.5")
    place = place.removeprefix("../") if path else place
    val = "set/images" if path else "images"
    write(tmp_path / "set/data.yaml", f"{path}train: {place}\nval: {val}\nnames: [x]")
    with pytest.raises(UserError, match=message):
        read_folder("yolo", tmp_path / "set")


@pytest.mark.parametrize(
    "text",
    (
        "train: [a/images, b/images]\nval: [a/images, b/images]",
        "train: {root}/a/images\nval: a/images",
        "train: a/images\nval: ./a/images/",
        "train: a\\images\nval: a/images",
    ),
)
def test_the_same_images_may_be_named_as_train_and_as_val(tmp_path, text):
    for name in ("a", "b"):
        write_image(tmp_path / name / f"images/{name}.jpg", seed=ord(name))
        write(tmp_path / name / f"labels/{name}.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "data.yaml", text.format(root=tmp_path) + "\nnames: [x]")
    assert list(read_folder("yolo", tmp_path).splits) == ["all"]


def test_lists_of_train_and_val_with_the_same_lines_are_one(tmp_path):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "obj.names", "x")
    for split in ("train", "val"):
        write(tmp_path / f"{split}.txt", "a.jpg")
    assert list(read_folder("yolo", tmp_path).splits) == ["all"]


def test_a_link_to_another_disk_lies_inside(tmp_path):
    write_image(tmp_path / "disk/train/a.jpg")
    write(tmp_path / "disk/train/a.txt", "0 0.5 0.5 0.5 0.5")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/images").symlink_to(tmp_path / "disk")
    write(tmp_path / "set/data.yaml", f"train: {tmp_path}/set/images/train\nnames: [x]")
    assert list(read_folder("yolo", tmp_path / "set").splits) == ["train"]


def test_a_copy_without_its_test_is_read(tmp_path):
    for place in ("copy/images/train", "copy/images/val", "whole/images/test"):
        write_image(tmp_path / place / "a.jpg", seed=len(place))
        write(tmp_path / place.replace("images", "labels") / "a.txt", "0 0.5 0.5 0.5 0.5")
    places = "train: images/train\nval: images/val\ntest: images/test"
    write(tmp_path / "copy/data.yaml", f"path: {tmp_path}/whole\n{places}\nnames: [x]")
    source = read_folder("yolo", tmp_path / "copy")
    assert sorted(source.splits) == ["train", "val"]
    assert any("no images of test at images/test" in note for note in source.notes)


@pytest.mark.parametrize("path", ("x" * 5000, "[a, b]"))
def test_a_path_that_cannot_be_looked_at_is_taken_for_missing(tmp_path, path):
    write_image(tmp_path / "images/a.jpg")
    write(tmp_path / "labels/a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "data.yaml", f"path: {path}\ntrain: images\nval: nowhere/else\nnames: [x]")
    assert list(read_folder("yolo", tmp_path).splits) == ["train"]


def test_a_broken_link_among_the_labels_is_no_label(tmp_path):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "classes.txt", "x")
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone.txt")
    assert len(read_folder("yolo", tmp_path).splits["all"]) == 1


def test_settings_of_another_folder_are_the_last_choice(tmp_path):
    write_image(tmp_path / "old/images/a.jpg")
    write_image(tmp_path / "set/images/a.jpg")
    write(tmp_path / "set/labels/a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "set/data.yaml", "train: ../old/images\nnames: [old]")
    write(tmp_path / "set/my.yaml", "train: images\nnames: [x]")
    assert read_split("yolo", tmp_path / "set")[0] == ["x"]


def test_roboflow_s_places_mean_the_folder_itself_though_another_export_lies_beside_it(tmp_path):
    for root in (tmp_path, tmp_path / "set"):
        for split in ("train", "valid"):
            write_image(root / split / "images/a.jpg")
            write(root / split / "labels/a.txt", "0 0.5 0.5 0.5 0.5")
    text = "train: ../train/images\nval: ../valid/images\nnames: [x]"
    write(tmp_path / "set/data.yaml", text)
    splits = read_folder("yolo", tmp_path / "set").splits
    assert [entry.path for entry in splits["train"]] == [str(tmp_path / "set/train/images/a.jpg")]


def test_an_empty_folder_inside_is_not_said_to_lie_outside(tmp_path):
    write_image(tmp_path / "train/images/a.jpg")
    write(tmp_path / "train/labels/a.txt", "0 0.5 0.5 0.5 0.5")
    (tmp_path / "valid/images").mkdir(parents=True)
    write(tmp_path / "data.yaml", "train: train/images\nval: valid/images\nnames: [x]")
    source = read_folder("yolo", tmp_path)
    assert list(source.splits) == ["train"] and "no images of val at" in " ".join(source.notes)


@pytest.mark.parametrize(
    "layout", ("{0}/img/{1}.jpg {0}/lbl/{1}.txt", "imgs/{0}/day/{1}.jpg anno/{0}/day/{1}.txt")
)
def test_sequences_that_number_their_images_alike_keep_their_labels(tmp_path, layout):
    write(tmp_path / "classes.txt", "x")
    for number, sequence in enumerate(("s1", "s2")):
        for stem in ("0", "1", "2")[: 3 - number]:
            image, label = (tmp_path / part.format(sequence, stem) for part in layout.split())
            write_image(image, seed=10 * number + int(stem))
            write(label, f"0 0.5 0.5 0.{number + 1} 0.5")
    _, records = read_split("yolo", tmp_path, "all")
    widths = [records.boxes[records.objects(i)].tolist() for i in range(5)]
    assert [round(box[2] - box[0]) for (box,) in widths] == [10, 10, 10, 19, 19]


def test_an_image_without_a_label_does_not_take_that_of_another_sequence(tmp_path):
    write(tmp_path / "classes.txt", "x")
    for place in ("s1/img", "s2/img", "s1/img/more"):
        write_image(tmp_path / place / "0.jpg", seed=len(place))
    for place in ("s1/lbl", "s2/lbl"):
        write(tmp_path / place / "0.txt", "0 0.5 0.5 0.5 0.5")
    source = read_folder("yolo", tmp_path)
    assert [len(entry.objects) for entry in source.splits["all"]] == [1, 0, 1]


def test_a_yaml_of_another_program_may_be_in_any_encoding(tmp_path):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "classes.txt", "x")
    (tmp_path / "docker.yaml").write_bytes("# généré\nimage: x".encode("latin-1"))
    assert read_split("auto", tmp_path, "all")[0] == ["x"]


def test_labels_without_an_image_are_counted_and_lists_are_none(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"labels/{name}.txt", "0 0.5 0.5 0.5 0.5")
    write_image(tmp_path / "images/a.jpg")
    (tmp_path / "images/b.HEIC").write_bytes(b"x")
    write(tmp_path / "labels/classes.txt", "x")
    write(tmp_path / "labels/none.txt", "")
    notes = read_folder("yolo", tmp_path).notes
    assert [note for note in notes if "without an image" in note] == [
        "not used: label files without an image (HEIC is not read): 1, of b.txt"
    ]
    (tmp_path / "images/b.HEIC").unlink()
    assert (
        "not used: label files without an image: 1, of b.txt" in read_folder("yolo", tmp_path).notes
    )


def test_a_blank_line_between_names_is_an_error_and_one_at_the_end_is_not(tmp_path):
    write_image(tmp_path / "a.jpg")
    write(tmp_path / "a.txt", "1 0.5 0.5 0.5 0.5")
    write(tmp_path / "classes.txt", "cat\ndog\n\n")
    assert read_split("yolo", tmp_path, "all")[0] == ["dog"]
    write(tmp_path / "classes.txt", "cat\n\ndog\n")
    with pytest.raises(UserError, match="classes.txt, line 2: no name of a class"):
        read_folder("yolo", tmp_path)


def test_why_no_object_was_found_is_said(tmp_path):
    for name in "abc":
        write_image(tmp_path / f"images/{name}.jpg", seed=ord(name))
    write(tmp_path / "classes.txt", "x")
    with pytest.raises(UserError, match="no object of any class.*without a label file.*: 3, of"):
        read_records(RECIPES["shapes"] | dict(dataset="yolo", root=str(tmp_path)))
