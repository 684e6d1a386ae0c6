import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from data.text import UserError
from tests.conftest import write_image
from tests.test_write import save_rotated
from utils.files import mark_as_own
from utils.media import (
    Background,
    VideoInput,
    VideoWriter,
    batches,
    named_files,
    open_inputs,
    read_ahead,
)


def write_video(path, frames=12, size=(64, 96)):
    """A video whose frames grow brighter: 10 grey levels each, up to the 20th."""
    writer = VideoWriter(path, fps=10)
    for number in range(frames):
        writer.write(np.full((*size, 3), 10 * (number % 20), np.uint8))
    writer.close()
    return path


def find_inputs(names, *arguments):
    return open_inputs(named_files(names), *arguments)


def copies(inputs):
    return [str(copy) for source in inputs for copy in source.copies]


def numbers_of(video):
    return [frame.source["frame"] for frame in video]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/a.jpg, photos/sub/b.png, photos/clip.mp4 in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photos/a.jpg")
    write_image(tmp_path / "photos/sub/b.png")
    (tmp_path / "photos/notes.txt").write_text("text")
    write_video(tmp_path / "photos/clip.mp4")
    return tmp_path / "photos"


def test_a_folder_means_its_images_and_videos(photos, tmp_path):
    inputs = find_inputs(["photos"], tmp_path / "out")
    assert [type(source).__name__ for source in inputs] == ["ImageInput", "VideoInput"]
    assert copies(inputs) == [str(tmp_path / "out" / n) for n in ("a.jpg", "sub/b.png", "clip.mp4")]


def test_a_folder_means_none_of_the_pictures_that_this_program_drew_in_it(photos):
    mark_as_own(photos / "detections")
    write_image(photos / "detections/a.jpg")
    assert len(named_files(["photos"])) == 3
    [(path, place)] = named_files(["photos/detections"])
    assert path == Path("photos/detections/a.jpg") and place == Path("a.jpg")


def test_a_glob_that_the_shell_left_means_its_files(photos, tmp_path):
    [source] = find_inputs(["photos/**/*.[jp]*g"], tmp_path)
    assert [path.name for path in source.copies] == ["a.jpg", "b.png"]


def test_copies_of_files_outside_the_current_folder_stay_in_the_output(photos, monkeypatch):
    for name in ("a/1.jpg", "b/1.jpg", "here/b/1.jpg"):
        write_image(photos.parent / name)
    monkeypatch.chdir(photos.parent / "here")
    found = copies(find_inputs(["b", "../a", "../b", "../b/1.jpg"], Path("out")))
    assert len(set(found)) == 3 and not any(".." in path for path in found)


def test_two_images_of_one_name_keep_both_copies(photos, tmp_path):
    write_image(photos / "sub/a.jpg")
    [source] = find_inputs(["photos/a.jpg", "photos/sub/a.jpg"], tmp_path / "out")
    assert len(set(source.copies)) == 2


def test_two_videos_with_other_endings_keep_both_copies(photos, tmp_path):
    (photos / "clip.mkv").write_bytes((photos / "clip.mp4").read_bytes())
    inputs = find_inputs(["photos/clip.mkv", "photos/clip.mp4"], tmp_path / "out")
    assert copies(inputs) == [str(tmp_path / "out" / n) for n in ("clip.mkv.mp4", "clip.mp4")]


def test_a_file_named_like_a_camera_is_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png")
    (tmp_path / "image.png").rename(tmp_path / "0")
    [source] = find_inputs(["0"], tmp_path / "out")
    assert type(source).__name__ == "ImageInput"


@pytest.mark.parametrize("name", ("nothing.jpg", "nothing/*.jpg", "99", "https://a.org/b.jpg"))
def test_what_is_not_there_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such file|no camera") as error:
        find_inputs([name], tmp_path)
    assert ("download it first" in str(error.value)) == ("://" in name)


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no images in this folder"):
        find_inputs([str(tmp_path)], tmp_path)


def test_frames_carry_their_source_and_their_truth(photos, tmp_path):
    boxes = np.array([[1, 2, 3, 4]], np.float32)
    truth = {photos / "a.jpg": ((64, 96), boxes)}
    images, video = find_inputs(["photos"], tmp_path / "out", 5, truth)
    first, second = images
    assert first.source == dict(image="photos/a.jpg") and (first.truth == boxes).all()
    assert len(second.truth) == 0
    assert numbers_of(video) == [0, 5, 10]


def test_an_image_with_truth_is_read_as_it_was_annotated(photos, tmp_path):
    """Boxes may have been drawn before EXIF's rotation, as the annotated size tells."""
    save_rotated(photos / "a.jpg", 6, (8, 16, 32, 24))
    for size in ((48, 80), (80, 48)):
        truth = {photos / "a.jpg": (size, np.zeros((0, 4)))}
        [images] = find_inputs(["photos/a.jpg"], tmp_path / "out", 1, truth)
        assert [frame.image.shape[:2] for frame in images] == [size]


def test_a_broken_image_is_left_out_and_named(photos, tmp_path):
    (photos / "a.jpg").write_bytes(b"no image")
    images, _ = find_inputs(["photos"], tmp_path / "out")
    assert [frame.source["image"] for frame in images] == ["photos/sub/b.png"]
    assert len(images.problems) == 1 and "a.jpg" in images.problems[0]


def test_a_broken_video_is_left_out_and_named(photos, tmp_path):
    (photos / "clip.mp4").write_bytes(b"no video")
    _, video = find_inputs(["photos"], tmp_path / "out")
    assert list(video) == [] and len(video) == 0
    assert "clip.mp4: not a readable video" in video.problems[0]
    video.close()


@pytest.mark.parametrize("name", ("a.mp4", "a.avi", "a.mov"))
def test_what_is_written_is_read_again(tmp_path, name):
    video = VideoInput(write_video(tmp_path / "new" / name), tmp_path / "copy.mp4")
    frames = [frame.image for frame in video]
    assert len(frames) == len(video) == 12
    assert video.writer.fps == 10 and not video.problems
    for number, image in enumerate(frames):
        assert image.shape == (64, 96, 3) and abs(image.mean() - 10 * number) < 4


def test_colours_keep_their_order(tmp_path):
    writer = VideoWriter(tmp_path / "red.avi", fps=10)
    writer.write(np.full((64, 64, 3), (250, 10, 10), np.uint8))
    writer.close()
    [frame] = VideoInput(tmp_path / "red.avi", tmp_path / "copy.avi")
    assert frame.image[..., 0].mean() > 200 and frame.image[..., 2].mean() < 50


def test_a_video_that_claims_billions_of_frames_ends(tmp_path):
    video = VideoInput(write_video(tmp_path / "a.avi"), tmp_path / "copy.avi")
    video.frame_count = 1 << 31
    assert len([frame.image for frame in video]) == 12
    assert f"{(1 << 31) - 12} of {1 << 31} frames cannot be read" in video.problems[0]


@pytest.mark.parametrize("name, problems", (("a.avi", 1), ("a.mkv", 0), ("a.webm", 0)))
def test_only_a_count_that_is_no_estimate_tells_that_frames_are_missing(tmp_path, name, problems):
    path = write_video(tmp_path / "a.avi").rename(tmp_path / name)
    video = VideoInput(path, tmp_path / "copy.avi")
    video.frame_count = 15
    assert len(numbers_of(video)) == 12 and len(video.problems) == problems


@pytest.mark.parametrize("name", ("a.avi", "a.mkv"))
def test_a_video_without_a_frame_that_can_be_read_is_a_problem(tmp_path, name):
    path = write_video(tmp_path / "a.avi").rename(tmp_path / name)
    video = VideoInput(path, tmp_path / "copy.avi")
    video.capture = SimpleNamespace(
        open=lambda path: None,
        grab=lambda: False,
        retrieve=lambda: (False, None),
        release=lambda: None,
    )
    assert not list(video) and "12 of 12 frames cannot be read" in video.problems[0]


def test_every_third_frame_is_read(tmp_path):
    video = VideoInput(write_video(tmp_path / "a.avi"), tmp_path / "copy.avi", every=3)
    assert numbers_of(video) == [0, 3, 6, 9] and len(video) == 4


def test_a_cut_video_gives_its_whole_frames_and_counts_the_others(tmp_path):
    path = write_video(tmp_path / "a.avi", frames=40)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    video = VideoInput(path, tmp_path / "copy.avi")
    count = len(numbers_of(video))
    assert 5 < count < 30
    assert video.problems == [f"{path}: {40 - count} of 40 frames cannot be read"]


def test_frames_behind_a_broken_one_are_read(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=40)
    data = bytearray(path.read_bytes())
    middle = data.find(b"mdat") + 300
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    assert 39 in numbers_of(VideoInput(path, tmp_path / "copy.mp4"))


@pytest.mark.parametrize("source", ("missing.mp4", "text.mp4"))
def test_what_is_no_video_is_one_line(tmp_path, monkeypatch, source, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.mp4").write_text("no video")
    assert VideoInput(source, "copy.mp4").problems == [f"{source}: not a readable video"]
    assert not capfd.readouterr().err


def test_without_its_camera_there_is_nothing_to_do(tmp_path, capfd):
    with pytest.raises(UserError, match="77: no camera has this number"):
        VideoInput("77", tmp_path / "copy.mp4")
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

    monkeypatch.setattr("utils.media.cv2.VideoCapture", Camera)
    video = VideoInput("0", "copy.mp4")
    assert numbers_of(video) == [0, 1, 2] and video.writer.fps == 25
    assert video.problems == ["camera 0 gave no more frames after 3"]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        VideoWriter(tmp_path / "file/a.mp4", 10).write(np.zeros((64, 64, 3), np.uint8))


def test_read_ahead_gives_the_same_items_in_their_order():
    assert list(read_ahead(range(50))) == list(range(50))
    assert list(read_ahead([])) == []


def test_items_are_made_while_the_caller_works():
    made = []

    def items():
        for number in range(8):
            made.append(threading.current_thread())
            yield number

    ahead = read_ahead(items())
    next(ahead)
    time.sleep(0.2)
    assert 3 <= len(made) <= 6 and threading.main_thread() not in made


def test_an_error_while_reading_reaches_the_caller():
    def items():
        yield 1
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(read_ahead(items()))


def test_a_caller_that_stops_early_waits_for_nothing():
    ahead = read_ahead(iter(int, 1))  # without end
    next(ahead)
    ahead.close()


def test_batches_are_full_but_the_last():
    assert list(batches(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_calls_in_the_background_are_made_in_order_and_all():
    done = []
    with Background() as background:
        for number in range(20):
            background.call(done.append, number)
    assert done == list(range(20))


def test_an_error_in_the_background_is_raised():
    with pytest.raises(ZeroDivisionError), Background() as background:
        background.call(lambda: 1 / 0)


@pytest.mark.parametrize("ending", ("jfif", "pgm", "pbm"))
def test_a_copy_has_an_ending_that_can_be_written(photos, ending):
    path = (photos / "a.jpg").rename(photos / f"c.{ending}")
    [images] = find_inputs([path], photos / "out")
    [frame] = images
    frame.save(frame.image)
    assert copies([images]) == [str(photos / f"out/c.{ending}.jpg")] and images.copies[0].exists()


@pytest.mark.parametrize("name", ("a.mp4", "a.avi"))
def test_a_frame_rate_of_a_phone_is_written(tmp_path, name):
    for fps in (0.01, 29.97003, 119.987, 240.0213):
        writer = VideoWriter(tmp_path / f"{fps}{name}", fps)
        writer.write(np.zeros((64, 96, 3), np.uint8))
        writer.close()
        written = VideoInput(tmp_path / f"{fps}{name}", tmp_path / "copy.mp4").writer.fps
        assert written == pytest.approx(fps, abs=0.01)


@pytest.mark.parametrize("fps", (0.001, 1000.37, 90_000))
def test_a_frame_rate_that_no_file_holds_is_the_nearest(tmp_path, fps):
    writer = VideoWriter(tmp_path / "a.mp4", fps)
    writer.write(np.zeros((64, 96, 3), np.uint8))
    writer.close()
    assert VideoInput(tmp_path / "a.mp4", tmp_path / "copy.mp4").writer.fps > 0


def test_only_the_video_that_is_read_is_open(tmp_path):
    write_video(tmp_path / "a.mp4")
    videos = [VideoInput(tmp_path / "a.mp4", tmp_path / "copy.mp4") for _ in range(3)]
    assert not any(video.capture.isOpened() for video in videos)
    assert [len(list(video)) for video in videos] == [12, 12, 12]
    assert not any(video.capture.isOpened() for video in videos)


def test_a_file_that_is_named_twice_is_read_once(photos, tmp_path):
    names = ["photos", "photos/sub", "photos/sub/*.png", photos / "a.jpg"]
    inputs = find_inputs(map(str, names), tmp_path / "out")
    assert copies(inputs) == [str(tmp_path / "out" / n) for n in ("a.jpg", "sub/b.png", "clip.mp4")]
