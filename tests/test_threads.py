import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cfa_lite import threads
from cfa_lite.method import anomaly_map, neighbors


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_setting_is_restored_after_overlapping_callers():
    """The first caller leaves while the second is still inside."""
    before = blas_threads()
    entered, may_leave, left = threading.Event(), threading.Event(), threading.Event()

    def first():
        with threads.serial_blas():
            entered.set()
            may_leave.wait(10)
        left.set()

    worker = threading.Thread(target=first)
    worker.start()
    assert entered.wait(10)
    with threads.serial_blas():
        may_leave.set()
        assert left.wait(10)
        assert set(blas_threads()) == {1}
    worker.join()
    assert blas_threads() == before


def test_setting_of_another_thread_does_not_last():
    """As with functions of scikit-learn, which restore the number that they found."""
    with threads.serial_blas():
        other = threading.Thread(target=threadpool_limits, args=(2,), kwargs={"user_api": "blas"})
        other.start()
        other.join()
        with threads.serial_blas():
            assert set(blas_threads()) == {1}


def test_what_is_kept_does_not_depend_on_who_asks_first(rng):
    """A part of the package that is called alone has as many BLAS threads as the process."""
    weight, centers = (rng.standard_normal(shape, np.float32) for shape in ((112, 112), (333, 112)))
    with threads.serial_blas():
        expected = neighbors.folded(weight, centers)[0], anomaly_map._side_matrix.__wrapped__(97, 777, 5.0, 0.3)
    with threadpool_limits(2, user_api="blas"):
        found = neighbors.folded(weight, centers)[0], anomaly_map._side_matrix.__wrapped__(97, 777, 5.0, 0.3)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one, other)


def test_ordered_map_keeps_order_and_starts_few_tasks_ahead():
    started = []

    def work(i):
        started.append(i)
        return i * i

    results = threads.ordered_map(work, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(started) < 20
    results.close()


def test_an_unfinished_map_waits_for_its_tasks_and_joins_no_thread(monkeypatch):
    """It may be garbage-collected while a thread starts, and joining another one would then never end."""
    begun, ended = [], []

    def work(i):
        begun.append(i)
        time.sleep(0.05)
        ended.append(i)

    results = threads.ordered_map(work, range(1000), 2)
    next(results)
    monkeypatch.setattr(threading.Thread, "join", None)
    results.close()
    assert begun and sorted(begun) == sorted(ended)
    assert len(begun) < 20


def test_ordered_map_raises_at_the_position_of_the_error():
    results = threads.ordered_map(lambda i: 1 // (3 - i), range(6), 2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("cores, used", [(1, 1), (2, 2), (3, 3), (4, 3), (16, 15)])
def test_default_number_of_threads_leaves_a_core_free(monkeypatch, cores, used):
    monkeypatch.setattr(threads, "available_cores", lambda: cores)
    assert threads.resolve(None) == used
    assert threads.resolve(cores) == cores


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_wrong_number_of_threads_is_named(wrong):
    with pytest.raises(ValueError, match="threads="):
        threads.resolve(wrong)


def test_iterator_can_be_closed_in_one_of_its_own_threads():
    """The garbage collector can run in any thread and close an unused iterator."""
    closed, problems = threading.Event(), []

    def work(i):
        if i == 1:
            started.wait()
            try:
                results.close()
            except Exception as error:
                problems.append(error)
            closed.set()
        return i

    started = threading.Event()
    results = threads.ordered_map(work, range(40), 2)
    assert next(results) == 0
    started.set()
    assert closed.wait(20) and problems == []
