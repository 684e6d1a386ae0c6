"""What detect.py looks at: images, folders, globs, videos, cameras; and where its results go."""

import glob
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.errors import UserError
from data.images import image_files, read_image
from utils import draw
from utils.video import VideoReader, VideoWriter, is_video


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
