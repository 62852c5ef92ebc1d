"""What a task may be and what it is given: Brian's rules, made exact.

Most of it is seen without a process: ``Task.check(...)`` is what the farm does first with the
user's task, ``make(number, send)`` what a process does with it.
"""

from __future__ import annotations

import functools
import math
import operator
from collections import namedtuple
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_tasks import FAST, Counting, draw, square
from farmhand import Call, Report, UsageError, call, open_store, run_tasks
from farmhand.seeds import item_generator
from farmhand.task import Task

np = pytest.importorskip("numpy")


class Sent(list):
    """What a process would have been told: (item, fraction complete, task name); names of parts are apart."""

    def __init__(self) -> None:
        self.phases: list[str] = []

    def __call__(self, index: int, complete: float | None, taskname: str | None, phase: str) -> None:
        self.append((index, complete, taskname))
        self.phases.append(phase)


def made(
    target: Any,
    initargs: Any = None,
    initkwds: Any = None,
    *,
    number: int = 0,
    seed: int | None = None,
    send: Sent | None = None,
) -> Any:
    return Task.check(target, initargs, initkwds, seed).make(number, Sent() if send is None else send)


def run_one(target: Any, item: Any, index: int = 0) -> Any:
    return made(target)(index, item)


# -- what a task may be ----------------------------------------------------------------------------


def add(a, b=10):
    return a + b


class Adder:
    def __init__(self, n=1):
        self.n = n

    def __call__(self, x):
        return x + self.n

    def method(self, x):
        return x - self.n

    @classmethod
    def of_class(cls, x):
        return cls.__name__, x

    @staticmethod
    def static(x):
        return "static", x


def closure(n):
    return lambda x: x * n


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        pytest.param(add, 13, id="function"),
        pytest.param(lambda x: -x, -3, id="lambda"),
        pytest.param(closure(5), 15, id="closure"),
        pytest.param(Adder(4), 7, id="callable instance"),
        pytest.param(Adder, 4, id="class"),
        pytest.param(functools.partial(add, b=1), 4, id="partial"),
        pytest.param(functools.partial(functools.partial(add), b=1), 4, id="partial of partial"),
        pytest.param(functools.partial(Adder(2)), 5, id="partial of an instance"),
        pytest.param(Adder(2).method, 1, id="bound method"),
        pytest.param(Adder.of_class, ("Adder", 3), id="class method"),
        pytest.param(Adder.static, ("static", 3), id="static method"),
        pytest.param(abs, 3, id="builtin"),
        pytest.param(operator.neg, -3, id="operator"),
        pytest.param(math.sqrt, math.sqrt(3), id="of a C module"),
        pytest.param(functools.lru_cache(add), 13, id="cached"),
        pytest.param(np.negative, -3, id="ufunc"),
    ],
)
def test_anything_that_can_be_called_is_a_task(task, expected):
    """The farm asks only that the task can be called with an item; of a class, its instances."""
    assert run_one(task, 3) == expected


@pytest.mark.parametrize("task", [max, min, getattr, np.random.default_rng().integers])
def test_a_builtin_without_a_signature_is_a_task(task):
    """Many functions written in C do not say what they take: then they take no report."""
    args = (5, "real") if task is getattr else (5, 6)
    assert run_one(task, args) == 5 or task is max


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (add, "add"),
        (Adder, "Adder"),
        (Adder(), "Adder"),
        (Adder().method, "Adder.method"),
        (functools.partial(functools.partial(add, 1)), "add"),
        (closure(1), "closure.<lambda>"),
        (abs, "abs"),
    ],
)
def test_a_task_has_a_name_that_its_results_are_found_by(task, name):
    """``resume`` goes by it, so that it holds nothing that changes from run to run."""
    assert Task.check(task).name == name


# -- what an item becomes --------------------------------------------------------------------------


def arguments(*args, **kwds):
    return args, {name: value for name, value in kwds.items() if name != "report"}


Pair = namedtuple("Pair", "a b")


class Typed(NamedTuple):
    a: int
    b: int = 2


@pytest.mark.parametrize(
    ("item", "args", "kwds"),
    [
        (1, (1,), {}),
        (None, (None,), {}),
        ("ab", ("ab",), {}),
        ([1, 2], ([1, 2],), {}),
        ({"a": 1}, ({"a": 1},), {}),
        ((), (), {}),
        ((1, 2), (1, 2), {}),
        (((1, 2),), ((1, 2),), {}),
        (Pair(1, 2), (1, 2), {}),
        (Typed(1), (1, 2), {}),
        (call(), (), {}),
        (call((1, 2)), ((1, 2),), {}),
        (call(1, b=2), (1,), {"b": 2}),
        (call(call(1)), (call(1),), {}),
        ((call(1),), (call(1),), {}),
    ],
)
@pytest.mark.parametrize("takes_more", [False, True], ids=["plain", "with report"])
def test_a_tuple_is_the_positional_arguments_and_call_says_both_kinds(item, args, kwds, takes_more):
    """Brian's rule; ``call`` is for keywords, and for a tuple that is to be one argument."""
    plain = functools.partial(arguments, report=None)  # the user fills report, so the farm does not
    assert run_one(arguments if takes_more else plain, item) == (args, kwds)


@given(
    st.lists(st.integers()), st.dictionaries(st.text().filter(lambda name: name != "report"), st.integers())
)
def test_call_calls_exactly(args, kwds):
    """Whatever the arguments are, and whatever the keywords are called."""
    assert run_one(arguments, Call(tuple(args), kwds)) == (tuple(args), kwds)


def test_call_shows_itself_as_it_is_written():
    """It is shown beside the bar of a process and in the text of errors."""
    assert repr(call(1, "a", mode="slow")) == "call(1, 'a', mode='slow')"


def test_an_array_as_items_gives_its_rows():
    """Of a vector the numbers, of a matrix the rows, each as one argument."""
    vector, matrix = np.array([1.5, 2.5]), np.arange(6).reshape(3, 2)
    with open_store(":memory:") as store:
        run_tasks(store, square, vector, **FAST, poolsize=1)
        assert store.values() == [2.25, 6.25]
    with open_store(":memory:") as store:
        run_tasks(store, square, matrix, **FAST, poolsize=2)
        assert [value.tolist() for value in store.values()] == (matrix**2).tolist()
        assert [item.tolist() for item, _ in store.pairs()] == matrix.tolist()


# -- classes ---------------------------------------------------------------------------------------


class Setup:
    """Keeps what it was made with."""

    def __init__(self, *args, **kwds):
        self.got = args, kwds

    def __call__(self, item):
        return self.got


class Numbered:
    def __init__(self, a, process_number=None):
        self.got = a, process_number

    def __call__(self, item):
        return self.got


class KeywordOnly:
    def __init__(self, *, process_number):
        self.got = process_number

    def __call__(self, item):
        return self.got


class Unaware:
    def __init__(self, a=1, *, b=2):
        self.got = a, b

    def __call__(self, item):
        return self.got


class Inherited(Numbered):
    pass


@pytest.mark.parametrize(
    ("task", "initargs", "initkwds", "expected"),
    [
        pytest.param(Numbered, (7,), None, (7, 3), id="process_number"),
        pytest.param(Inherited, (7,), None, (7, 3), id="inherited"),
        pytest.param(KeywordOnly, None, None, 3, id="keyword-only process_number"),
        pytest.param(Setup, (1,), {"b": 2}, ((1,), {"b": 2, "process_number": 3}), id="**kwds"),
        pytest.param(Setup, None, {"process_number": 9}, ((), {"process_number": 9}), id="the user's own"),
        pytest.param(Unaware, (5,), {"b": 6}, (5, 6), id="neither"),
        pytest.param(Unaware, [5], None, (5, 2), id="a list of initargs"),
    ],
)
def test_a_class_is_made_with_initargs_initkwds_and_its_process_number(task, initargs, initkwds, expected):
    """The number is given to an ``__init__`` that takes ``process_number`` or ``**kwds``."""
    assert made(task, initargs, initkwds, number=3)(0, None) == expected


def test_the_users_initargs_and_initkwds_are_never_changed():
    """Brian 1 wrote process_number into the user's dict."""
    initargs, initkwds = [[1]], {"b": {"c": 2}}
    task = Task.check(Setup, initargs, initkwds)
    for number in range(3):
        _, kwds = task.make(number, Sent())(0, None)
        kwds["d"] = 4
    assert (initargs, initkwds) == ([[1]], {"b": {"c": 2}})


@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_a_class_is_made_once_in_each_process(start_method):
    """So a model is loaded once; process numbers go from 0 and are not pids."""
    with open_store(":memory:") as store:
        run_tasks(store, Counting, range(200), **FAST, poolsize=3, initargs=(100,), start_method=start_method)
        values = store.values()
    by_number: dict[int, set[int]] = {}
    for number, pid, _ in values:
        by_number.setdefault(number, set()).add(pid)
    assert set(by_number) <= {0, 1, 2}
    assert all(len(pids) == 1 for pids in by_number.values()), "a process made its task twice"
    for number in by_number:
        counts = [count for each, _, count in values if each == number]
        assert sorted(counts) == list(range(101, 101 + len(counts)))


def test_instances_in_different_processes_know_nothing_of_each_other():
    """A state in the instance belongs to one process."""
    one, two = made(Counting, number=0), made(Counting, number=1)
    assert [one(0, "a")[2], one(1, "b")[2], two(2, "c")[2]] == [1, 2, 1]


# -- report ----------------------------------------------------------------------------------------


def takes_report(x, report):
    return report


def takes_report_by_keyword(x, *, report=None):
    return report


def takes_kwds(x, **kwds):
    return kwds["report"]


def takes_both(x, report=None, **kwds):
    assert not kwds
    return report


class ReportingCall:
    def __call__(self, x, report):
        return report


@pytest.mark.parametrize(
    "task",
    [takes_report, takes_report_by_keyword, takes_kwds, takes_both, ReportingCall, ReportingCall()],
    ids=lambda task: getattr(task, "__name__", "instance"),
)
def test_a_task_that_takes_report_or_kwds_is_given_one(task):
    """Brian's rule: a parameter ``report``, or ``**kwds``."""
    assert isinstance(run_one(task, 1), Report)


def test_a_task_that_takes_neither_is_given_none():
    """``*args`` is no invitation, nor is a parameter that only a position can fill."""
    assert run_one(lambda *args: args, 1) == (1,)
    assert run_one(eval("lambda report, /: report"), 1) == 1


def test_a_report_that_the_user_has_bound_stays():
    """``partial(task, report=mine)`` says whose report it is."""
    assert run_one(functools.partial(takes_report, report="mine"), 1) == "mine"
    assert run_one(takes_kwds, call(1, report="mine")) == "mine"


def test_a_task_whose_init_takes_kwds_is_not_given_a_report_for_that():
    """The parameters of ``__init__`` and of ``__call__`` are two things."""
    assert "report" not in made(Setup)(0, None)[1]


class Quantity:
    """As Brian's: has a unit, and as a number it is in base units."""

    def __init__(self, value, unit=""):
        self.value, self.unit = value, unit

    def __float__(self):
        return self.value


@pytest.mark.parametrize(
    "progress",
    [
        pytest.param((0.25,), id="complete"),
        pytest.param((3.0, 0.25), id="Brian 1"),
        pytest.param((Quantity(3.0, "s"), 0.25, Quantity(0.0, "s"), Quantity(9.0, "s")), id="Brian 2"),
        pytest.param((Quantity(3.0, "s"), Quantity(0.25)), id="a number like any other"),
        pytest.param((np.float32(0.25),), id="numpy"),
    ],
)
def test_report_can_be_called_in_each_of_its_ways(progress):
    """One, two or four arguments; ``complete`` is the first, or else the second."""
    sent = Sent()

    def task(x, report):
        report(*progress)
        report(*progress)  # too soon to be passed on
        assert sent == [(17, 0.25, "")]
        report(1.0)

    made(task, send=sent)(17, "item")


@pytest.mark.parametrize("progress", [(), (1, 2, 3), (1, 2, 3, 4, 5)])
def test_any_other_number_of_arguments_says_what_is_right(progress):
    """A guess about three arguments would show nonsense."""
    with pytest.raises(TypeError, match=r"\(elapsed, complete\).* not \d arguments"):
        run_one(lambda x, report: report(*progress), 1)


@pytest.mark.parametrize(("complete", "shown"), [(-1.0, 0.0), (2.0, 1.0), (math.inf, 1.0), (math.nan, None)])
def test_a_fraction_out_of_range_does_no_harm(complete, shown):
    """NaN comes from a division by zero inside somebody's simulator, and says nothing."""
    sent = Sent()
    made(lambda x, report: report(complete), send=sent)(0, None)
    assert sent == [(0, shown, "")]


def test_a_nan_does_not_undo_what_was_known(monkeypatch):
    """It is passed over; the last number stands."""
    now = iter(range(100))
    monkeypatch.setattr("farmhand.report.time.monotonic", lambda: next(now))
    sent = Sent()

    def task(x, report):
        report(0.5)
        report(math.nan)

    made(task, send=sent)(0, None)
    assert [complete for _, complete, _ in sent] == [0.5, 0.5]


def test_reporting_in_the_innermost_loop_is_cheap():
    """However often it is called, only some twenty calls a second are passed on."""
    sent = Sent()
    made(lambda x, report: [report(k / 10_000) for k in range(10_000)], send=sent)(0, None)
    assert 1 <= len(sent) < 1000


def test_each_item_begins_without_a_fraction():
    """What the last item reported is not the next one's."""
    sent = Sent()

    def task(x, report):
        if x == "reports":
            report(0.75)
        else:
            report.taskname = "other"

    run = made(task, send=sent)
    run(0, "reports")
    run(1, "does not")
    assert sent == [(0, 0.75, ""), (1, None, "other")]


def test_a_thread_that_a_task_left_behind_reports_no_longer():
    """Its item has ended; no other item may get its numbers."""
    sent = Sent()
    run = made(takes_report, send=sent)
    left_behind = run(0, None)
    left_behind(0.5)
    assert sent == []


@pytest.mark.parametrize(
    ("iterable", "total"), [([1, 2], None), (iter([1, 2]), 2), ({1: 0, 2: 0}, None), (range(1, 3), 2)]
)
def test_track_reports_where_the_loop_begins_and_after_each_element(monkeypatch, iterable, total):
    """``for x in report.track(iterable)`` is all that a loop needs; what went before is none of its pace."""
    now = iter(range(100))
    monkeypatch.setattr("farmhand.report.time.monotonic", lambda: next(now))
    sent = Sent()
    seen = made(lambda report: list(report.track(iterable, total)), send=sent)(0, ())
    assert seen == [1, 2]
    assert [complete for _, complete, _ in sent] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("iterable", "total"), [([], None), (iter([1, 2]), None), (iter([1]), 0)])
def test_track_never_stands_in_the_way(iterable, total):
    """Without a length there is nothing to report, and an empty loop has no fraction."""
    expected = [1, 2] if total is None and not isinstance(iterable, list) else [1] if total == 0 else []
    assert made(lambda report: list(report.track(iterable, total)))(0, ()) == expected


def test_breaking_out_of_track_is_fine():
    """As out of any loop."""

    def task(report):
        for x in report.track(range(10)):
            if x == 3:
                return x
        return None

    assert made(task)(0, ()) == 3


# -- taskname --------------------------------------------------------------------------------------


class Named:
    def __init__(self):
        self.taskname = "loading"

    def __call__(self, x, report):
        self.taskname = f"on {x}"
        report(0.5)


def test_a_class_task_names_itself_by_an_attribute():
    """Brian's way: ``self.taskname``, read whenever the task reports and when an item begins."""
    sent = Sent()
    run = made(Named, send=sent)
    run(0, "a")
    run(1, "b")
    assert sent == [(0, None, "loading"), (0, 0.5, "on a"), (1, 0.5, "on b")]


def test_a_class_task_that_takes_no_report_can_name_itself_too():
    """The name is passed on when an item begins or ends."""

    class Quiet:
        def __call__(self, x):
            self.taskname = f"after {x}"

    sent = Sent()
    run = made(Quiet, send=sent)
    run(0, "a")
    run(1, "b")
    assert [name for _, _, name in sent] == ["after a", "after b"]


def test_a_function_names_itself_through_its_report():
    """At once: it need not report a fraction for that."""
    sent = Sent()

    def task(x, report):
        report.taskname = f"on {x}"
        report.taskname = f"on {x}"  # said already

    made(task, send=sent)(4, "a")
    assert sent == [(4, None, "on a")]


def test_any_object_can_be_a_name():
    """It becomes text at once, in the process that gave it."""
    sent = Sent()
    made(lambda x, report: setattr(report, "taskname", x), send=sent)(0, 12)
    assert sent == [(0, None, "12")]


# -- rng -------------------------------------------------------------------------------------------


def test_the_random_stream_of_an_item_depends_on_seed_and_index_alone():
    """Not on the process, nor on what ran before: then any schedule gives the same results."""
    in_order, backwards = made(draw, seed=7), made(draw, seed=7, number=5)
    first = [in_order(index, "x") for index in range(4)]
    second = [backwards(index, "x") for index in reversed(range(4))]
    assert first == second[::-1]
    assert len({str(value) for value in first}) == 4, "two items share a stream"
    assert made(draw, seed=8)(0, "x") != first[0]


def test_the_seed_may_be_as_large_as_numpys():
    """``SeedSequence().entropy`` has 128 bits."""
    seed = np.random.SeedSequence().entropy
    assert made(draw, seed=seed)(3, 1)[1] == item_generator(seed, 3).integers(1 << 30, size=3).tolist()


def test_kwds_do_not_ask_for_a_random_generator():
    """``**kwds`` asks for Brian's report alone: numpy is not imported for that."""
    assert not Task.check(takes_kwds).takes_rng
    assert Task.check(draw).takes_rng
    assert set(made(lambda **kwds: kwds, seed=1)(0, ())) == {"report"}


# -- what cannot be a task -------------------------------------------------------------------------


@pytest.mark.parametrize("task", [None, 3, "square", [square], np.zeros(2)])
def test_what_cannot_be_called_is_no_task(task):
    """Said before any process starts, with what it was instead."""
    with pytest.raises(UsageError, match=f"must be a function.*not {type(task).__name__}"):
        Task.check(task)


def test_a_class_without_call_is_no_task():
    """Calling a class makes an instance, which is not what was meant."""
    with pytest.raises(UsageError, match="Pair has no __call__ method"):
        Task.check(Pair)


@pytest.mark.parametrize("given", [{"initargs": (1,)}, {"initkwds": {"a": 1}}])
@pytest.mark.parametrize("task", [add, Adder(), functools.partial(Adder)])
def test_initargs_are_for_classes(task, given):
    """They would be lost silently."""
    with pytest.raises(UsageError, match="initargs and initkwds are for a task class"):
        Task.check(task, **given)


@pytest.mark.parametrize("given", [{"initargs": ()}, {"initkwds": {}}, {"initargs": [], "initkwds": None}])
def test_empty_initargs_mean_none(given):
    """Brian's default was ``()``, which scripts pass on."""
    assert Task.check(add, **given).make(0, Sent())(0, 1) == 11


@pytest.mark.parametrize("given", [{"initargs": 3}, {"initkwds": [1]}, {"initkwds": "ab"}])
def test_initargs_that_are_no_arguments_say_what_they_should_be(given):
    """``initargs=(3)`` is a number: the comma is missing."""
    with pytest.raises(UsageError, match=r"must be a (sequence|dict)"):
        Task.check(Setup, **given)
