"""What detect.py reads and writes: images, folders, globs, videos and cameras.

The next images are read and the last ones written while the network is busy.
"""

import glob
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data.folder import list_files
from data.images import EXTENSIONS, read_image
from data.text import UserError, file_errors
from utils import draw

# FFmpeg writes many lines about a broken file, where we write one. It looks here for each video.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

VIDEO_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
# The videos that can be written, by their endings; the copies of others end with .mp4 as well.
CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}
# The videos whose files count their frames; of others, the number is an estimate from their length.
COUNTED = (".mp4", ".m4v", ".mov", ".avi")
DEFAULT_FPS = 25.0  # for a camera that does not tell its frame rate
MAX_BROKEN_FRAMES = 10_000  # in a row, after which a video is over
AHEAD = 4  # the most items that are read ahead, or wait to be written


class Frame(NamedTuple):
    image: np.ndarray  # [H, W, 3] RGB
    source: dict  # its name in the results: image, or video and frame
    save: callable  # writes a picture in its place
    truth: np.ndarray = ()  # [N, 4] the annotated boxes


class ImageInput:
    """The frames of image files, where each image is one.

    files: (path, path of the copy) of each. truth: absolute path -> annotated (height, width) and
    boxes [N, 4]. Files that cannot be read are left out, and problems has a line for each.
    """

    unit = "image"

    def __init__(self, files, truth):
        self.files = files
        self.truth = truth
        self.copies = [copy for _, copy in files]
        self.problems = []

    def __len__(self):
        return len(self.files)

    def __iter__(self):
        for path, copy in self.files:
            size, boxes = self.truth.get(path.resolve(), (None, ()))
            try:
                image = read_image(path, size)
            except UserError as problem:
                self.problems.append(str(problem))
                continue
            yield Frame(image, dict(image=str(path)), partial(draw.save_picture, copy), boxes)

    def close(self):
        """Do nothing: no file is open."""


class VideoInput:
    """Every N-th frame of a video file, or of the camera with a number, and its copy, a new video.

    Frames that cannot be read are left out, and problems has a line about them, or about a file
    that is no readable video. If there is no camera with the number, that is an error.
    """

    unit = "frame"

    def __init__(self, source, copy, every=1):
        self.source = str(source)
        self.copies = [copy]
        self.every = every
        self.problems = []
        self.is_camera = self.source.isdecimal()
        self.capture = cv2.VideoCapture(int(self.source) if self.is_camera else self.source)
        if not self.capture.isOpened():
            if self.is_camera:
                raise UserError(f"{self.source}: no camera has this number")
            self.problems.append(f"{self.source}: not a readable video")
        count = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # A camera has no count, and a broken file a negative one; 0 stands for not known.
        self.frame_count = 0 if self.is_camera else max(int(count), 0)
        fps = self.capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS
        self.writer = VideoWriter(copy, fps / every)
        if not self.is_camera:
            # There may be more videos than a program can have open files.
            self.capture.release()

    def __len__(self):
        return -(-self.frame_count // self.every)

    def __iter__(self):
        if not self.is_camera:
            self.capture.open(self.source)
        number = 0
        missing = 0
        missing_last = 0  # since the last good frame
        has_frames = False
        failed = 0  # grabs in a row
        # A broken frame cannot be grabbed, but there may be good ones after it; after very many,
        # the number of frames that the file claims to have is wrong.
        while (is_there := self.capture.grab()) or number < self.frame_count:
            failed = 0 if is_there else failed + 1
            if failed > MAX_BROKEN_FRAMES:
                missing_last += len(self) - number // self.every
                break
            if number % self.every == 0:
                is_whole, frame = self.capture.retrieve()
                missing_last += not is_whole
                if is_whole:
                    missing += missing_last
                    missing_last = 0
                    has_frames = True
                    image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                    yield Frame(image, dict(video=self.source, frame=number), self.writer.write)
            number += 1
        self.capture.release()
        if self.source.lower().endswith(COUNTED) or not has_frames:
            missing += missing_last
        if missing:
            self.problems.append(f"{self.source}: {missing} of {len(self)} frames cannot be read")
        elif self.is_camera:
            self.problems.append(f"camera {self.source} gave no more frames after {number}")

    def close(self):
        self.writer.close()


def named_files(names):
    """What names on the command line stand for -> (path, place of the copy) of each file."""
    return [pair for name in names for pair in files_of(name)]


def open_inputs(files, output, every=1, truth=None):
    """The inputs of named_files() -> an ImageInput and VideoInputs, with copies in output.

    Copies are named as the images are, or as their places in a folder that was named.
    """
    first_places = {}
    for path, place in files:
        # A file that is named twice, as by `photos photos/best`, has one copy.
        first_places.setdefault(os.path.abspath(path), (path, place))
    copies = {}
    for path, place in first_places.values():
        # Of two files with the same name, the second is copied with the folders of its path, which
        # must not lead out of the output.
        whole = Path(os.path.abspath(path))
        typed = whole if path.is_absolute() or ".." in path.parts else path
        places = (place, typed.relative_to(typed.anchor), whole.relative_to(whole.anchor))
        place = next((free for free in places if copies.get(free, path) == path), places[-1])
        copies[place] = path
    # What is no file is the number of a camera.
    videos = {
        place: path
        for place, path in copies.items()
        if path.suffix.lower() in VIDEO_ENDINGS or not path.is_file()
    }
    # A copy is written in a format in which OpenCV writes colours.
    black = np.zeros((64, 64, 3), np.uint8)
    endings = {place.suffix for place in copies}
    endings = {ending for ending in endings if draw.encode_picture(black, ending)}
    images = [
        (path, output / (place if place.suffix in endings else f"{place}.jpg"))
        for place, path in copies.items()
        if place not in videos
    ]
    inputs = [ImageInput(images, truth or {})] if images else []
    for place, path in videos.items():
        # In the place of its ending, .mp4 might be the name of another video's copy.
        ending = "" if place.suffix.lower() in CODECS else ".mp4"
        inputs.append(VideoInput(path, output / f"{place}{ending}", every))
    return inputs


def files_of(name):
    """The same of one name: a file, a folder, a camera or a glob."""
    path = Path(name)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        endings = (*EXTENSIONS, *VIDEO_ENDINGS)
        files = sorted(file for file in list_files(path) if file.lower().endswith(endings))
        if not files:
            raise UserError(f"{path}: no images in this folder and no videos")
        return [(path / file, Path(file)) for file in files]
    if name.isdecimal():
        return [(path, Path(f"camera{name}"))]
    files = [Path(file) for file in sorted(glob.glob(name, recursive=True))]
    files = [file for file in files if file.is_file()]
    if not files:
        hint = "; images are read from files: download it first" if "://" in name else ""
        raise UserError(f"{name}: no such file or folder{hint}")
    return [(file, Path(file.name)) for file in files]


class VideoWriter:
    """A new video file, which can be played once it is closed, however few its frames are."""

    def __init__(self, path, fps):
        self.path = Path(path)
        self.fps = fps
        # The size of the frames is not known before the first one.
        self.writer = None

    def write(self, image):
        """Append an image [H, W, 3] RGB of the same size as the first one."""
        if self.writer is None:
            with file_errors(self.path, "written"):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
            size = image.shape[1::-1]
            # MPEG-4 writes it as a fraction of numbers up to 65535.
            digits = next(n for n in (3, 2, 1, 0) if self.fps * 10**n < 65_535 or n == 0)
            fps = min(max(round(self.fps, digits), 0.01), 65_535)
            self.writer = cv2.VideoWriter(str(self.path), codec, fps, size)
            if not self.writer.isOpened():
                raise UserError(f"{self.path}: no video can be written here")
        self.writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self):
        if self.writer is not None:
            self.writer.release()


def read_ahead(items):
    """The same items, of which a thread fetches the next ones while the caller works."""
    iterator = iter(items)
    end = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        futures = deque(thread.submit(next, iterator, end) for _ in range(AHEAD))
        while (item := futures.popleft().result()) is not end:
            futures.append(thread.submit(next, iterator, end))
            yield item


def batches(items, size):
    """The items in lists of this size; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Background:
    """A thread that calls functions one after the other, while the caller goes on.

    An error in one of them is raised by a later call(), or at the end.
    """

    def __enter__(self):
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.futures = deque()
        return self

    def call(self, function, *arguments):
        # A caller that is faster than the thread waits here, or images would fill the memory.
        if len(self.futures) == AHEAD:
            self.futures.popleft().result()
        self.futures.append(self.thread.submit(function, *arguments))

    def __exit__(self, kind, error, traceback):
        self.thread.shutdown()
        if error is None:
            for future in self.futures:
                future.result()
