"""Readers of csv, KITTI, Cityscapes, WIDER FACE and YOLO, each with the quirks of its format."""
import json

import pytest

from data.dataset import READERS
from data.errors import UserError
from data.formats import cityscapes, csv_file, kitti, widerface, yolo
from data.records import ANY
from tests.conftest import write_image


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# csv


@pytest.fixture
def rows(tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"images/{name}.jpg")
    return ["images/a.jpg,1,2,30,40,dog", "images/a.jpg,5.5,6,20,30.25,cat", "images/b.jpg,,,,,"]


@pytest.mark.parametrize("header", ([], ["path,x1,y1,x2,y2,class"], ["image_path,xmin,ymin,xmax,ymax,label"]))
def test_csv_with_and_without_a_header(tmp_path, rows, header):
    classes, records = csv_file.read_files(write(tmp_path / "train.csv", "\n".join(header + rows)))
    assert classes == ["cat", "dog"] and len(records) == 2 and not records.problems
    assert records.boxes.tolist() == [[1, 2, 30, 40], [5.5, 6, 20, 30.25]] and records.labels.tolist() == [1, 0]


def test_csv_classes_come_in_the_order_of_their_ids(tmp_path, rows):
    write(tmp_path / "train.csv", "\n".join(rows))
    write(tmp_path / "val.csv", rows[0])
    write(tmp_path / "classes.csv", "dog,0\nbird,2\ncat,1\n")
    assert csv_file.read(tmp_path, "train")[0] == ["dog", "cat", "bird"]
    assert len(csv_file.read(tmp_path, "val")[1]) == 1


@pytest.mark.parametrize("row, problem", (
    ("images/c.jpg,1,2,x,4,dog", "train.csv, line 4: column x2 is 'x', expected a number"),
    ("images/c.jpg,1,2,3,4,bird", "train.csv, line 4: class 'bird' is not one of dog, cat"),
    ("images/c.jpg,1,2,3", "train.csv, line 4: 4 columns, expected path,x1,y1,x2,y2,class"),
    ("images/z.jpg,1,2,3,4,dog", "z.jpg: no such image"),
))
def test_a_wrong_csv_row_is_named(tmp_path, rows, row, problem):
    path = write(tmp_path / "train.csv", "\n".join([*rows, row]))
    _, records = csv_file.read_files(path, ["dog", "cat"])
    assert len(records.problems) == 1 and records.problems[0].endswith(problem)
    assert len(records.boxes) == 2


# KITTI


def test_kitti_ignores_dontcare_and_what_is_too_like_a_class(tmp_path):
    names = [f"{i:06d}" for i in range(12)]
    for name in names:
        write_image(tmp_path / f"training/image_2/{name}.png")
        write(tmp_path / f"training/label_2/{name}.txt", "\n".join(
            f"{kind} 0.00 0 -1.5 10.5 20.0 30.0 40.0 1 1 1 1 1 1 1" for kind in ("Car", "Van", "Truck", "DontCare")))
    (classes, train), (_, val) = kitti.read(tmp_path, "train"), kitti.read(tmp_path, "val")
    assert classes == ["Car", "Pedestrian", "Cyclist"] and len(train) + len(val) == 12 and len(val) > 0
    rows = train.objects(0)
    assert train.labels[rows].tolist() == [0, 0, ANY] and train.ignore[rows].tolist() == [False, True, True]
    _, chosen = kitti.read(tmp_path, "train", ["Van", "Truck"])
    assert chosen.labels[chosen.objects(0)].tolist() == [0, 1, ANY]


@pytest.mark.parametrize("line, problem", (("Car 0 0 0 1 2", "line 1: no left, top, right, bottom"), ("Dog 0 0 0 1 2 3 4", "'Dog' is not one of")))
def test_a_wrong_kitti_line_is_named(tmp_path, line, problem):
    write_image(tmp_path / "training/image_2/000000.png")
    write(tmp_path / "training/label_2/000000.txt", line)
    problems = kitti.read(tmp_path, "train")[1].problems
    assert len(problems) == 1 and problem in problems[0]


# Cityscapes


def test_cityscapes_boxes_polygons_and_ignores_groups(tmp_path):
    polygons = [("car", [[10, 20], [30, 25], [20, 40]]), ("cargroup", [[0, 0], [5, 5]]), ("road", [[0, 0], [95, 63]]),
                ("bicycle", [[-4, 50], [12, 70]])]
    write(tmp_path / "gtFine/val/city/city_1_gtFine_polygons.json", json.dumps(
        dict(imgHeight=64, imgWidth=96, objects=[dict(label=label, polygon=points) for label, points in polygons])))
    write_image(tmp_path / "leftImg8bit/val/city/city_1_leftImg8bit.png")
    classes, records = cityscapes.read(tmp_path, "val")
    assert len(classes) == 8 and [classes[i] for i in records.labels] == ["car", "car", "bicycle"]
    assert records.boxes.tolist() == [[10, 20, 31, 41], [0, 0, 6, 6], [0, 50, 13, 64]]
    assert records.ignore.tolist() == [False, True, False] and records.path(0).endswith("city_1_leftImg8bit.png")


def test_a_broken_cityscapes_file_is_named(tmp_path):
    write(tmp_path / "gtFine/train/city/city_1_gtFine_polygons.json", "{")
    assert "city_1_gtFine_polygons.json: not a readable file" in cityscapes.read(tmp_path, "train")[1].problems[0]


# WIDER FACE

FACES = """0--Parade/a.jpg
2
10 20 30 20 2 0 0 0 2 0
5 5 8 8 2 0 0 1 2 0
0--Parade/b.jpg
0
0 0 0 0 0 0 0 0 0 0
0--Parade/c.jpg
1
0 0 0 0 0 0 0 0 0 0
0--Parade/d.jpg
0
0--Parade/e.jpg
3
10 10 -2 5 0 0 0 0 0 0
50 10 0 5 0 0 0 0 0 0
60 10 9 9 0 0 0 0 0 0
"""


def test_widerface_knows_every_way_of_writing_no_faces(tmp_path):
    write(tmp_path / "wider_face_split/wider_face_val_bbx_gt.txt", FACES)
    for name in "abcde":
        write_image(tmp_path / f"WIDER_val/images/0--Parade/{name}.jpg")
    classes, records = widerface.read(tmp_path, "val")
    assert classes == ["face"] and not records.problems
    assert [len(records.boxes[records.objects(i)]) for i in range(5)] == [2, 0, 0, 0, 1]
    assert records.ignore.tolist() == [False, True, False] and records.boxes[0].tolist() == [10, 20, 40, 40]
    assert "dropped boxes of no area" in records.notes[0] and ": 2, of e.jpg" in records.notes[0]


def test_a_wrong_widerface_line_is_named(tmp_path):
    faces, problems = widerface.parse(write(tmp_path / "list.txt", FACES.replace("5 5 8 8 2", "5 five 8 8 2")))
    assert len(problems) == 1 and "list.txt, line 4: not a face" in problems[0] and len(faces) == 5


# YOLO


@pytest.mark.parametrize("layout", ("images/{0}/{1}.jpg labels/{0}/{1}.txt", "{0}/images/{1}.jpg {0}/labels/{1}.txt",
                                    "images/{0}/{1}.jpg images/{0}/{1}.txt"))
@pytest.mark.parametrize("names", (("data.yaml", "names: [cat, dog]"), ("data.yaml", "names:\n  1: dog\n  0: cat\n"),
                                   ("classes.txt", "cat\ndog\n"), ("obj.names", "cat\ndog")))
def test_yolo_shares_become_pixels(tmp_path, layout, names):
    write(tmp_path / names[0], names[1])
    for split in ("train", "val"):
        image, label = (tmp_path / part.format(split, "a") for part in layout.split())
        write_image(image)
        write(label, "1 0.5 0.5 0.5 0.25\n0 0.25 0.25 0.1 0.1\n")
        write_image(image.with_name("none.jpg"))
    classes, records = yolo.read(tmp_path, "train")
    assert classes == ["cat", "dog"] and len(records) == 2 and not records.problems
    assert records.boxes[0].tolist() == [24, 24, 72, 40] and records.labels.tolist() == [1, 0]


def test_yolo_lists_and_yaml_say_where_images_are(tmp_path):
    write_image(tmp_path / "pictures/a.jpg")
    write(tmp_path / "pictures/a.txt", "0 0.5 0.5 0.5 0.5")
    write(tmp_path / "data.yaml", "train: ../pictures\nval: pictures\nnames: [x]")
    assert len(yolo.read(tmp_path, "val")[1]) == len(yolo.read(tmp_path, "train")[1]) == 1
    (tmp_path / "data.yaml").unlink()
    write(tmp_path / "obj.names", "x")
    write(tmp_path / "train.txt", "data/pictures/a.jpg\n")
    assert yolo.read(tmp_path, "train")[1].boxes.tolist() in ([[24, 16, 72, 48]], [])


def test_only_a_folder_named_images_has_its_labels_elsewhere(tmp_path):
    assert yolo.label_file(tmp_path / "images/train/images_1.jpg") == tmp_path / "labels/train/images_1.txt"
    assert yolo.label_file(tmp_path / "my images/a.jpg") == tmp_path / "my images/a.txt"


def test_of_a_yolo_polygon_the_box_is_taken(tmp_path):
    polygon = write(tmp_path / "a.txt", "0 0.5 0.25 0.75 0.5 0.5 0.75\n0 0.5 0.5 0.5 0.25 0.9\n")
    assert yolo.parse(polygon, (64, 96), {0: 0}, ["x"], []) == [(48, 16, 72, 48, 0, False), (24, 24, 72, 40, 0, False)]


@pytest.mark.parametrize("line, problem", (("0 0.5 0.5", "line 1: expected class cx cy w h, found '0 0.5 0.5'"),
                                           ("7 0.5 0.5 0.1 0.1", "line 1: class 7, but there are 1 names")))
def test_a_wrong_yolo_line_is_named(tmp_path, line, problem):
    for split in ("train", "val"):
        write_image(tmp_path / f"images/{split}/a.jpg")
    write(tmp_path / "labels/train/a.txt", line)
    write(tmp_path / "classes.txt", "x")
    assert yolo.read(tmp_path, "train")[1].problems[0].endswith(problem)


@pytest.mark.parametrize("name", [name for name in READERS if name != "shapes"])
def test_a_missing_folder_is_one_clear_error(name, tmp_path):
    with pytest.raises(UserError, match="nowhere.*expected"):
        READERS[name](tmp_path / "nowhere", "train")
