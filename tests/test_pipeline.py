import threading
import time

import pytest

from utils.pipeline import Background, batches, read_ahead


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
