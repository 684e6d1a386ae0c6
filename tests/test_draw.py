import numpy as np

from utils.draw import colour, draw, plate_corner, sheet

IMAGE = np.zeros((80, 120, 3), np.uint8)


def test_a_box_is_drawn_in_its_class_s_colour_on_a_copy():
    drawn = draw(IMAGE, [(10, 30, 60, 70)], [1], ["cat", "dog"], [0.9])
    assert tuple(drawn[50, 10]) == colour(1) and not IMAGE.any()


def test_nothing_found_is_a_picture_too():
    assert (draw(IMAGE, [], [], ["cat"], []) == IMAGE).all()


def test_a_box_at_the_border_keeps_its_name_within_the_picture():
    assert (
        draw(IMAGE, [(0, 0, 120, 80)], [0], ["a very long class name"], [1.0]).shape == IMAGE.shape
    )


def test_classes_have_colours_of_their_custom():
    assert len({colour(i) for i in range(80)}) == 80


def test_a_sheet_holds_pictures_of_any_size():
    assert sheet([IMAGE, IMAGE[:, :20], IMAGE[:5]], columns=2, width=100).shape == (208, 208, 3)


def test_names_stand_below_the_pictures_of_a_sheet():
    picture = sheet([IMAGE + 9] * 2, columns=2, width=120, names=["a.jpg", "b.jpg"])
    assert picture.shape == (144, 248, 3)
    assert (picture[82:104, :124] == 0).any() and (picture[82:104, 124:] == 0).any()


def test_a_name_never_covers_a_small_object():
    """Small boxes in a row, closer than a name is wide: a name has another place, or none."""
    boxes = [(20 + 9 * i, 40, 26 + 9 * i, 46) for i in range(8)] + [(10, 60, 90, 95)]
    image = np.zeros((100, 120, 3), np.uint8)
    drawn = draw(image, boxes, [0] * 8 + [1], ["cat", "dog"])
    for left, top, right, bottom in boxes[:8]:
        assert not drawn[top + 1 : bottom - 2, left + 1 : right - 2].any()


def test_a_name_stands_above_its_box_where_there_is_room():
    assert plate_corner((10, 50, 60, 90), (30, 10), (100, 100), np.zeros((0, 4))) == (10, 40)
    assert plate_corner((10, 3, 60, 40), (30, 10), (100, 100), np.zeros((0, 4))) == (10, 41)
    small = np.array([[12.0, 42, 16, 46]])
    assert plate_corner((10, 50, 60, 90), (30, 10), (100, 100), small) == (30, 40)


def test_a_name_beside_a_box_stays_within_the_picture():
    """Left of a tall box at the right border, for right of it there is no room."""
    tall = (60, 2, 99, 98)
    assert plate_corner(tall, (30, 10), (100, 100), np.zeros((0, 4))) == (29, 2)
    assert plate_corner((0, 2, 99, 98), (130, 10), (100, 100), np.zeros((0, 4))) == (0, 2)
