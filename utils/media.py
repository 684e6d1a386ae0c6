"""What detect.py looks at: images, folders, globs, videos, cameras; and where its results go.

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

# What FFmpeg and OpenCV have to say of broken files, many lines, is said here in one.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from data.images import image_files, read_image  # noqa: E402
from data.text import UserError  # noqa: E402
from utils import draw  # noqa: E402

ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v"}  # of what is written; MJPG in an .avi
DEFAULT_FPS = 25.0  # where a camera does not tell it
AHEAD = 4  # batches that are read, or wait to be written, at most


class Frame(NamedTuple):
    """An image on its way through a detector."""

    image: np.ndarray  # [H, W, 3] RGB
    source: dict  # what results say of it: its image, or its video and frame
    save: callable  # takes the image with its detections
    truth: np.ndarray = ()  # [N, 4] the boxes of its annotation


class ImageInput:
    """The frames of image files; those that cannot be read are left out, and named in problems.

    files: (path, path of its copy). truth: resolved path -> boxes [N, 4].
    """

    unit = "image"

    def __init__(self, files, truth):
        self.files, self.truth, self.problems = files, truth, []
        self.copies = [copy for _, copy in files]

    def __len__(self):
        return len(self.files)

    def __iter__(self):
        for path, copy in self.files:
            try:
                image = read_image(path)
            except UserError as problem:
                self.problems.append(str(problem))
                continue
            boxes = self.truth.get(path.resolve(), ())
            yield Frame(image, dict(image=str(path)), partial(draw.save_picture, copy), boxes)

    def close(self):
        """Nothing is open."""


class VideoInput:
    """The frames of a video or a camera, which are written into a video.

    A file that cannot be read has no frames, and is named in problems.
    """

    unit = "frame"

    def __init__(self, source, copy, every):
        self.source, self.reader, self.writer = source, None, None
        self.copies, self.problems = [copy], []
        try:
            self.reader = VideoReader(source, every)
        except UserError as problem:
            if str(source).isdecimal():
                raise
            self.problems.append(str(problem))
        else:
            self.writer = VideoWriter(copy, self.reader.fps / every)

    def __len__(self):
        return len(self.reader) if self.reader else 0

    def __iter__(self):
        if not self.reader:
            return
        for number, image in self.reader:
            yield Frame(image, dict(video=str(self.source), frame=number), self.writer.write)
        if self.reader.problem:
            self.problems.append(self.reader.problem)

    def close(self):
        if self.writer:
            self.writer.close()


def named_files(names):
    """(path, place of its copy) of everything that names on the command line mean."""
    return [pair for name in names for pair in files_of(name)]


def open_inputs(files, output, every=1, truth=None):
    """The inputs that named_files() found, their copies in the folder output.

    Copies have the names of the images, or their places within a named folder.
    """
    images, videos = {}, {}
    for path, place in files:
        copies = images if path.is_file() and not is_video(path) else videos
        if copies.get(place, path) != path:
            place = Path(*path.parts[1:]) if path.is_absolute() else path
        copies[place] = path
    inputs = []
    if images:
        files = [(path, output / place) for place, path in images.items()]
        inputs.append(ImageInput(files, truth or {}))
    for place, path in videos.items():
        ending = place.suffix if place.suffix in (".mp4", ".avi", ".mov") else ".mp4"
        copy = output / place.with_suffix(ending)
        inputs.append(VideoInput(path, copy, every))
    return inputs


def files_of(name):
    """(path, place of its copy) of everything that one name means."""
    path = Path(name)
    if path.is_file():
        return [(path, Path(path.name))]
    if path.is_dir():
        files = sorted([*map(Path, image_files(path)), *filter(is_video, path.rglob("*"))])
        if not files:
            raise UserError(f"{path}: no images in this folder, and no videos")
        return [(file, file.relative_to(path)) for file in files]
    if name.isdecimal():
        return [(path, Path(f"camera{name}"))]
    files = [Path(file) for file in sorted(glob.glob(name, recursive=True))]
    files = [file for file in files if file.is_file()]
    if not files:
        raise UserError(f"{name}: no such file or folder")
    return [(file, Path(file.name)) for file in files]


def is_video(path):
    return Path(path).suffix.lower() in ENDINGS


class VideoReader:
    """The frames of a video file, or of the camera with a number, of which each every-th is read.

    Frames that cannot be read are left out. problem counts them, once all were asked for.
    """

    def __init__(self, source, every=1):
        self.source, self.every, self.problem = str(source), every, ""
        self.is_camera = self.source.isdecimal()
        self.capture = cv2.VideoCapture(int(self.source) if self.is_camera else self.source)
        if not self.capture.isOpened():
            kind = "no camera has this number" if self.is_camera else "not a video that can be read"
            raise UserError(f"{self.source}: {kind}")
        count = self.capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = 0 if self.is_camera else max(int(count), 0)  # 0: not known
        self.fps = self.capture.get(cv2.CAP_PROP_FPS) or DEFAULT_FPS

    def __len__(self):
        return -(-self.frame_count // self.every)

    def __iter__(self):
        """(number, image [H, W, 3] RGB) of the frames."""
        number = missing = 0
        while self.capture.grab() or number < self.frame_count:
            frame = self.retrieve() if number % self.every == 0 else None
            if frame is not None:
                yield number, frame
            missing += number % self.every == 0 and frame is None
            number += 1
        self.capture.release()
        if missing:
            self.problem = f"{self.source}: {missing} of {len(self)} frames cannot be read"
        elif self.is_camera:
            self.problem = f"camera {self.source} gives no more frames, after {number}"

    def retrieve(self):
        """The frame that was grabbed last, RGB; None if it is broken."""
        is_whole, frame = self.capture.retrieve()
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) if is_whole else None


class VideoWriter:
    """A new video file, which can be played whenever it is closed."""

    def __init__(self, path, fps):
        self.path, self.fps, self.writer = Path(path), fps, None

    def write(self, image):
        """Append an image [H, W, 3] RGB; all have the size of the first."""
        if self.writer is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
            codec = cv2.VideoWriter.fourcc(*CODECS.get(self.path.suffix, "MJPG"))
            size = image.shape[1::-1]
            self.writer = cv2.VideoWriter(str(self.path), codec, self.fps, size)
            if not self.writer.isOpened():
                raise UserError(f"{self.path}: a video cannot be written here")
        self.writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def close(self):
        if self.writer is not None:
            self.writer.release()


def read_ahead(items):
    """The same items; a thread makes the next ones while the caller works on the last."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        futures = deque(thread.submit(next, iterator, end) for _ in range(AHEAD))
        while (item := futures.popleft().result()) is not end:
            futures.append(thread.submit(next, iterator, end))
            yield item


def batches(items, size):
    """Lists of so many items; the last may have fewer."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Background:
    """Calls that a thread makes one after the other, while the caller goes on.

    An error in one of them is raised by a later call, or at the end.
    """

    def __enter__(self):
        self.thread, self.futures = ThreadPoolExecutor(max_workers=1), deque()
        return self

    def call(self, function, *arguments):
        if len(self.futures) == AHEAD:
            self.futures.popleft().result()
        self.futures.append(self.thread.submit(function, *arguments))

    def __exit__(self, kind, error, traceback):
        self.thread.shutdown()
        if error is None:
            for future in self.futures:
                future.result()
