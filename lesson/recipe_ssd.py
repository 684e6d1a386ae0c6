"""SSD300 in the lesson: that of `python train.py --model ssd300`, with checkpoints on the way."""

from lesson.runs import SSD as recipe  # noqa: F401
