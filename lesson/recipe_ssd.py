"""SSD300 in the lesson: the beginning of a training that takes an hour on two cores."""

from lesson.runs import SSD as recipe  # noqa: F401
