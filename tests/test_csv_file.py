import pytest

from data.formats import csv_file
from data.reading import read_folder, read_records
from data.text import UserError
from tests.conftest import read_split, write_image
from utils.recipes import RECIPES

ROWS = ["images/a.jpg,1,2,30,40,dog", "images/a.jpg,5.5,6,20,30.25,cat", "images/b.jpg,,,,,"]


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"images/{name}.jpg")
    return tmp_path


def write(path, *lines, encoding="utf-8"):
    path.write_text("\n".join(lines), encoding=encoding)


@pytest.mark.parametrize(
    "header", ([], ["path,x1,y1,x2,y2,class"], ["image_path,xmin,ymin,xmax,ymax,label"])
)
def test_with_and_without_a_header(folder, header):
    write(folder / "train.csv", *header, *ROWS)
    classes, records = read_split("csv", folder)
    assert classes == ["cat", "dog"] and len(records) == 2 and not records.problems
    assert records.boxes.tolist() == [[1, 2, 30, 40], [5.5, 6, 20, 30.25]]
    assert records.labels.tolist() == [1, 0]


def test_tensorflow_s_columns_in_any_order(folder):
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    write(folder / "train_labels.csv", header, "a.jpg,96,64,dog,1,2,30,40")
    assert read_split("csv", folder)[1].boxes.tolist() == [[1, 2, 30, 40]]


def test_the_image_s_size_in_a_table_is_compared_with_the_image(folder):
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    write(folder / "train_labels.csv", header, "a.jpg,192,128,dog,1,2,30,40")
    message = "a.jpg: 96 x 64 pixels, but its annotation says 192 x 128"
    with pytest.raises(UserError, match=message):
        read_records(RECIPES["shapes"] | dict(dataset="csv", root=str(folder)))


@pytest.mark.parametrize(
    "header", ("image,x,y,w,h,label", "image_name,bbox_x,bbox_y,bbox_width,bbox_height,label_name",
               "image,x_min,y_min,width,height,class")
)  # fmt: skip
def test_the_size_of_a_box_instead_of_its_second_corner_is_read_and_said(folder, header):
    write(folder / "train.csv", header, "a.jpg,1,2,30,40,dog")
    records = read_split("csv", folder)[1]
    assert records.boxes.tolist() == [[1, 2, 31, 42]] and not records.problems
    assert records.notes[0].endswith(f"train.csv: {header}: boxes are left, top, width, height")


@pytest.mark.parametrize("header", ("image,cx,cy,w,h,label", "photo,x1,y1,x2,y2,class"))
def test_columns_that_are_not_known_are_never_read_as_corners(folder, header):
    write(folder / "train.csv", header, "a.jpg,20,20,30,30,dog")
    with pytest.raises(UserError, match="train.csv: its columns are .*, expected path,x1,y1,x2,y2"):
        csv_file.read_files(folder / "train.csv")
    with pytest.raises(UserError):
        read_folder("csv", folder)


def test_an_image_is_found_by_its_name_without_an_ending(folder):
    write(folder / "train.csv", "image_id,class_name,x_min,y_min,x_max,y_max", "a,dog,1,2,30,40")
    assert read_split("csv", folder)[1].path(0) == str(folder / "images/a.jpg")


@pytest.mark.parametrize("encoding", ("utf-8", "utf-8-sig", "utf-16"))
@pytest.mark.parametrize("delimiter", (",", ";", "\t"))
def test_other_delimiters_and_encodings(folder, encoding, delimiter):
    rows = [row.replace(",", delimiter) + "\r" for row in ["path,x1,y1,x2,y2,class", *ROWS]]
    write(folder / "train.csv", *rows, encoding=encoding)
    assert len(read_split("csv", folder)[1].boxes) == 2


def test_an_encoding_that_is_neither_is_named(folder):
    (folder / "train.csv").write_bytes("images/a.jpg,1,2,30,40,Größe".encode("latin-1"))
    with pytest.raises(UserError, match=r"train.csv: not UTF-8 at byte 25 \(probably Latin-1"):
        csv_file.read_files(folder / "train.csv")


def test_classes_come_in_the_order_of_their_ids(folder):
    write(folder / "train.csv", *ROWS)
    write(folder / "val.csv", ROWS[0])
    write(folder / "classes.csv", "dog,0", "bird,2", "cat,1")
    source = read_folder("csv", folder)
    assert source.classes == ["dog", "cat", "bird"] and len(source.splits["val"]) == 1
    assert read_split("csv", folder)[0] == ["dog", "cat"]


@pytest.mark.parametrize(
    "row, problem",
    (
        ("images/c.jpg,1,2,x,4,dog", "train.csv, line 4: column x2 is 'x', expected a number"),
        ("images/c.jpg,1,2,inf,4,dog", "train.csv, line 4: column x2 is 'inf', expected a number"),
        ("images/c.jpg,1,2,3,4,bird", "train.csv, line 4: class 'bird' is not one of dog, cat"),
        ("images/c.jpg,1,2,3", "train.csv, line 4: 4 columns, expected path,x1,y1,x2,y2,class"),
        ("images/c.jpg,1,2,3,4,", "train.csv, line 4: it has a box and no class"),
        ("images/z.jpg,1,2,3,4,dog", "train.csv: no such image: images/z.jpg"),
    ),
)
def test_a_wrong_row_is_named(folder, row, problem):
    write(folder / "train.csv", *ROWS, row)
    write(folder / "classes.csv", "dog,0", "cat,1")
    source = csv_file.read_files(folder / "train.csv", class_list=folder / "classes.csv")
    assert len(source.problems) == 1 and source.problems[0].endswith(problem)
    assert sum(len(entry.objects) for entry in source.splits["all"]) == 2 + ("z.jpg" in row) * 0


def test_a_folder_without_boxes_is_one_clear_error(folder):
    with pytest.raises(UserError, match="no csv of boxes in .*; expected train.csv"):
        read_folder("csv", folder)


def test_a_folder_of_images_that_is_named_is_where_the_paths_begin(tmp_path):
    write_image(tmp_path / "photos/deep/a.jpg")
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables/boxes.csv"
    table.write_text("deep/a.jpg,1,2,30,40,cat\n")
    source = csv_file.read_files(str(table), images=str(tmp_path / "photos"))
    assert [str(entry.path) for entry in source.splits["all"]] == [
        str(tmp_path / "photos/deep/a.jpg")
    ]
    assert csv_file.read_files(str(table)).problems


@pytest.mark.parametrize("rows", (["cat,0", "dog,1", "cat,2"], ["cat,0", "dog,0"]))
def test_a_class_or_a_number_that_is_listed_twice_is_an_error(folder, rows):
    write(folder / "train.csv", *ROWS)
    write(folder / "classes.csv", *rows)
    with pytest.raises(UserError, match="classes.csv: (class cat|id 0) is in 2 rows"):
        read_folder("csv", folder)


def test_a_single_table_s_images_are_split_as_their_folders_say(tmp_path):
    names = ("train/a", "train/b", "val/c", "test/d")
    for seed, name in enumerate(names):
        write_image(tmp_path / f"{name}.jpg", seed=seed)
    write(tmp_path / "boxes.csv", *(f"{name}.jpg,1,2,30,40,dog" for name in names))
    source = read_folder("csv", tmp_path)
    counts = {split: len(part) for split, part in source.splits.items()}
    assert counts == dict(train=2, val=1, test=1)
    assert "splits are those that the folders of the images name: test, train, val" in source.notes


@pytest.mark.parametrize("others", ("photos", "train"))
def test_folders_that_do_not_tell_the_split_of_every_image_tell_none(tmp_path, others):
    names = ("train/a", f"{others}/b")
    for seed, name in enumerate(names):
        write_image(tmp_path / f"{name}.jpg", seed=seed)
    write(tmp_path / "boxes.csv", *(f"{name}.jpg,1,2,30,40,dog" for name in names))
    assert list(read_folder("csv", tmp_path).splits) == ["all"]
