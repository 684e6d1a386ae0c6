import numpy as np
import pytest

from data.errors import UserError
from tests.conftest import write_image
from tests.test_video import write_video
from utils.inputs import named_files, open_inputs


def find_inputs(names, *arguments):
    return open_inputs(named_files(names), *arguments)


def copies(inputs):
    return [str(copy) for source in inputs for copy in source.copies]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/a.jpg, photos/sub/b.png, photos/clip.mp4 in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photos/a.jpg")
    write_image(tmp_path / "photos/sub/b.png")
    write_video(tmp_path / "photos/clip.mp4")
    return tmp_path / "photos"


def test_a_folder_means_its_images_and_videos(photos, tmp_path):
    inputs = find_inputs(["photos"], tmp_path / "out")
    assert [type(source).__name__ for source in inputs] == ["ImageInput", "VideoInput"]
    assert copies(inputs) == [str(tmp_path / "out" / n) for n in ("a.jpg", "sub/b.png", "clip.mp4")]


def test_a_glob_that_the_shell_left_means_its_files(photos, tmp_path):
    [source] = find_inputs(["photos/**/*.[jp]*g"], tmp_path)
    assert [path.name for path in source.copies] == ["a.jpg", "b.png"]


def test_two_images_of_one_name_keep_both_copies(photos, tmp_path):
    write_image(photos / "sub/a.jpg")
    [source] = find_inputs(["photos/a.jpg", "photos/sub/a.jpg"], tmp_path / "out")
    assert len(set(source.copies)) == 2


def test_a_file_named_like_a_camera_is_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png")
    (tmp_path / "image.png").rename(tmp_path / "0")
    [source] = find_inputs(["0"], tmp_path / "out")
    assert type(source).__name__ == "ImageInput"


@pytest.mark.parametrize("name", ("nothing.jpg", "nothing/*.jpg", "99"))
def test_what_is_not_there_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such file|no camera"):
        find_inputs([name], tmp_path)


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no images in this folder"):
        find_inputs([str(tmp_path)], tmp_path)


def test_frames_carry_their_source_and_their_truth(photos, tmp_path):
    boxes = np.array([[1, 2, 3, 4]], np.float32)
    images, video = find_inputs(["photos"], tmp_path / "out", 5, {photos / "a.jpg": boxes})
    first, second = images
    assert first.source == dict(image="photos/a.jpg") and (first.truth == boxes).all()
    assert len(second.truth) == 0
    assert [frame.source["frame"] for frame in video] == [0, 5, 10]


def test_a_broken_image_is_left_out_and_named(photos, tmp_path):
    (photos / "a.jpg").write_bytes(b"no image")
    images, _ = find_inputs(["photos"], tmp_path / "out")
    assert [frame.source["image"] for frame in images] == ["photos/sub/b.png"]
    assert len(images.problems) == 1 and "a.jpg" in images.problems[0]


def test_a_broken_video_is_left_out_and_named(photos, tmp_path):
    (photos / "clip.mp4").write_bytes(b"no video")
    _, video = find_inputs(["photos"], tmp_path / "out")
    assert list(video) == [] and len(video) == 0 and "clip.mp4: not a video" in video.problems[0]
    video.close()
