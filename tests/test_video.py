import numpy as np
import pytest

from data.errors import UserError
from utils.video import VideoReader, VideoWriter


def write_video(path, frames=12, size=(64, 96)):
    """A video whose frames grow brighter: 10 grey levels each, up to the 20th."""
    writer = VideoWriter(path, fps=10)
    for number in range(frames):
        writer.write(np.full((*size, 3), 10 * (number % 20), np.uint8))
    writer.close()
    return path


@pytest.mark.parametrize("name", ("a.mp4", "a.avi", "a.mov"))
def test_what_is_written_is_read_again(tmp_path, name):
    reader = VideoReader(write_video(tmp_path / "new" / name))
    frames = list(reader)
    assert [number for number, _ in frames] == list(range(12)) and len(reader) == 12
    assert reader.fps == 10 and not reader.problem
    for number, image in frames:
        assert image.shape == (64, 96, 3) and abs(image.mean() - 10 * number) < 4


def test_colours_keep_their_order(tmp_path):
    writer = VideoWriter(tmp_path / "red.avi", fps=10)
    writer.write(np.full((64, 64, 3), (250, 10, 10), np.uint8))
    writer.close()
    [(_, image)] = VideoReader(tmp_path / "red.avi")
    assert image[..., 0].mean() > 200 and image[..., 2].mean() < 50


def test_every_third_frame_is_read(tmp_path):
    reader = VideoReader(write_video(tmp_path / "a.avi"), every=3)
    assert [number for number, _ in reader] == [0, 3, 6, 9] and len(reader) == 4


def test_a_cut_video_gives_its_whole_frames_and_counts_the_others(tmp_path):
    path = write_video(tmp_path / "a.avi", frames=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    reader = VideoReader(path)
    count = len(list(reader))
    assert 5 < count < 30
    assert reader.problem == f"{path}: {40 - count} of 40 frames cannot be read"


def test_frames_behind_a_broken_one_are_read(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=40)
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 300
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    numbers = [number for number, _ in VideoReader(path)]
    assert 39 in numbers


@pytest.mark.parametrize("source", ("missing.mp4", "text.mp4", "77"))
def test_what_is_no_video_is_one_line(tmp_path, monkeypatch, source, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=f"{source}: (no camera|not a video)"):
        VideoReader(source)
    assert not capfd.readouterr().err


def test_a_camera_that_goes_away_is_a_problem_not_an_error(monkeypatch):
    class Camera:
        frames = 3

        def __init__(self, number):
            assert number == 0

        def isOpened(self):
            return True

        def get(self, what):
            return 0

        def grab(self):
            self.frames -= 1
            return self.frames >= 0

        def retrieve(self):
            return True, np.zeros((4, 4, 3), np.uint8)

        def release(self):
            pass

    monkeypatch.setattr("utils.video.cv2.VideoCapture", Camera)
    reader = VideoReader("0")
    assert len(list(reader)) == 3 and reader.fps == 25
    assert reader.problem == "camera 0 gives no more frames, after 3"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        VideoWriter(tmp_path / "file/a.mp4", 10).write(np.zeros((64, 64, 3), np.uint8))
