"""The lesson's SSD300: the first iterations of a training that takes an hour on two cores."""

from lesson.runs import SSD as recipe  # noqa: F401
