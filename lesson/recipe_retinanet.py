"""The lesson's RetinaNet: that of `python train.py`, and its weights on the way."""

from lesson.runs import RETINANET as recipe  # noqa: F401
