"""Videos: frames in, frames out."""

import os
from pathlib import Path

# What FFmpeg and OpenCV have to say of broken files, many lines, is said here in one.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2  # noqa: E402

from data.errors import UserError  # noqa: E402

ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v"}  # of what is written; MJPG in an .avi
DEFAULT_FPS = 25.0  # where a camera does not tell it


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
