"""RetinaNet in the lesson: that of `python train.py`, with checkpoints on the way."""

from lesson.runs import RETINANET as recipe  # noqa: F401
