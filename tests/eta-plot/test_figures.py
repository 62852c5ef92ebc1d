"""The figures of a store: what they show of a run, whatever has become of it.

What is drawn is read from the figure's artists, never from pixels. Stores are made by hand, so that what
there is to be seen is known; they are in memory, so that this package alone is enough.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from math import inf, nan
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from farmhand import MemoryStore, UsageError, call, codec, owner, run_tasks
from farmhand.errors import UnknownName
from farmhand.events import ItemError, ItemsDone, RecordDone, RecordFailed
from farmhand.progress import Estimate
from farmhand.replay import replay
from farmhand.store import Timings, Turn
from farmhand.testing.stores import a_run, block, failed
from farmhand.wording import TimeLeft, when_text
from farmhand_plot import KINDS, looks, plot
from farmhand_plot.course import Course
from farmhand_plot.estimates import draw_estimates
from farmhand_plot.figures import course_figure
from farmhand_plot.timeline import busy_share
from waiting import DEADLINE

BEGAN = 1_700_000_000.0
# The owner of a run whose process has ended, on this computer: the last word is when that was started.
KILLED = "/".join([*owner.here().split("/")[:-2], "1", "before time began"])

#: item, process, seconds from the run's beginning to its start, and its own, how it ended
Ran = tuple[int, int, float, float, str]
SIX: list[Ran] = [
    (0, 0, 0.0, 2.0, "done"),
    (1, 1, 0.0, 3.0, "done"),
    (2, 0, 2.0, 3.0, "failed"),
    (3, 1, 3.0, 1.0, "retried"),
    (3, 1, 4.0, 2.0, "done"),
    (4, 1, 6.0, 1.0, "done"),
    (5, 0, 5.0, 40.0, "done"),
]


def add(
    store: MemoryStore,
    ran: Sequence[Ran],
    items: Sequence[Any] | None = None,
    outcome: str = "finished",
    ended: float = 45.0,
    **about: Any,
) -> str:
    """Write a run down; gives its uid."""
    number = 1 + max((index for index, *_ in ran), default=-1)
    fields = {"task": "find_rate", "started": BEGAN, "numitems": number, "owner": KILLED}
    run = a_run(**{**fields, **about})
    session = store.begin(run)
    blocks = [block(range(number), list(range(number)) if items is None else items)] if number else []
    error = ItemError("raised", "ValueError", "no", "")
    session.record(
        Turn(
            blocks,
            [
                RecordDone(ItemsDone(process, [index], [codec.encode(None)], BEGAN + start, [seconds]))
                for index, process, start, seconds, status in ran
                if status == "done"
            ],
            [
                RecordFailed(index, error, process, BEGAN + start, seconds, 1, again=status == "retried")
                for index, process, start, seconds, status in ran
                if status != "done"
            ],
        )
    )
    session.close(outcome, BEGAN + ended if outcome else None)
    return run.uid


def six(**about: Any) -> MemoryStore:
    store = MemoryStore()
    add(store, SIX, **about)
    return store


def drawn(figure: Figure, gid: str) -> Any:
    """The one thing of that name."""
    (found,) = figure.findobj(lambda artist: artist.get_gid() == gid)
    return found


def is_drawn(figure: Figure, gid: str) -> bool:
    return bool(figure.findobj(lambda artist: artist.get_gid() == gid))


def title(figure: Figure) -> str:
    return figure.get_suptitle()


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def labels(axes: Axes) -> list[str]:
    """What the legend explains."""
    legend = axes.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def save(figure: Figure, format: str = "png") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=format)
    return file.getvalue()


# -- completions -------------------------------------------------------------------------------------------


def test_completions_show_what_had_ended_when():
    """Done and failed ones; an attempt that was tried again has not ended."""
    figure = plot(six())
    times, counts = drawn(figure, "completions-ended").get_data()
    assert list(times) == [0.0, 2.0, 3.0, 5.0, 6.0, 7.0, 45.0, 45.0]
    assert list(counts) == [0, 1, 2, 3, 4, 5, 6, 6]
    assert list(drawn(figure, "completions-failed").get_xdata()) == [5.0]
    assert list(drawn(figure, "completions-total").get_ydata()) == [6, 6]


def test_many_failures_are_a_line_of_their_own():
    """Hundreds of crosses would hide what ended; the line leads to how many there were."""
    store = MemoryStore()
    add(store, [(k, 0, k * 1.0, 1.0, "done" if k % 3 else "failed") for k in range(300)], ended=300.0)
    line = drawn(plot(store), "completions-failed")
    assert line.get_linestyle() == "--"
    assert np.transpose(line.get_data())[[0, 1, 50, -1]].tolist() == [[0, 0], [1, 1], [148, 50], [300, 100]]


def test_a_run_that_is_over_has_no_projection():
    """But its end, in words."""
    figure = plot(six())
    assert not is_drawn(figure, "completions-band")
    at = f"at {when_text(BEGAN + 45.0, BEGAN)}"
    assert figure.axes[0].get_title("right") == f"ended after 45 s, {at}"
    assert "5 done, 1 failed" in title(figure)
    for outcome, said in (("stopped", "stopped after"), ("broken", "broken off after"), ("", "killed after")):
        ended = plot(six(outcome=outcome, numitems=10))
        assert ended.axes[0].get_title("right") == f"{said} 45 s, {at}"
        assert "5 of 10 done, 1 failed" in title(ended)
        assert not is_drawn(ended, "completions-band")


def test_a_run_that_goes_on_is_projected_to_its_total():
    """The band begins where the run is, and ends at the total, when it ends four times out of five."""
    remaining = Estimate(40.0, 50.0, 70.0)
    counts = {"total": 100, "done": 45, "failed": 5, "skipped": 20}
    course = Course("t", now=30.0, **counts, times=[10.0, 30.0], ended=[20, 50], remaining=remaining)
    course = replace(course, left=TimeLeft("40-70 s", "about 14:35"), began=BEGAN)
    figure = course_figure(course)
    assert figure.axes[0].get_title("right") == "40-70 s left, about 14:35"
    for axes in figure.axes:
        assert f"now: {when_text(BEGAN + 30.0, BEGAN)}" in labels(axes)
    corners = drawn(figure, "completions-band").get_xy()
    assert corners[:3].tolist() == [[30.0, 50.0], [70.0, 80.0], [100.0, 80.0]]
    assert np.transpose(drawn(figure, "completions-projected").get_data()).tolist() == [
        [30.0, 50.0],
        [80.0, 80.0],
    ]
    assert drawn(figure, "completions-total").get_label() == "80 to do, 20 skipped"
    above, below = figure.axes
    assert above.get_xlim() == below.get_xlim()
    assert above.get_xlim()[1] >= 100.0


def test_a_paused_run_says_that_it_is():
    """Its time remaining counts from when it goes on; on another computer it may not run at all."""
    left = TimeLeft("12-20 min", "when it goes on")
    paused = course_figure(Course("t", state="paused", now=30.0, total=9, left=left))
    assert paused.axes[0].get_title("right") == "paused: 12-20 min left, when it goes on"
    elsewhere = course_figure(Course("t", state="unknown", now=30.0, total=9, left=TimeLeft("5-6 h")))
    assert elsewhere.axes[0].get_title("right") == "if it still runs: 5-6 h left"


def test_without_a_total_there_is_no_target():
    """Nobody knows how long the run is, and nothing is made up."""
    figure = plot(six(outcome="", owner=owner.here(), numitems=None))
    assert not is_drawn(figure, "completions-total")
    assert not is_drawn(figure, "completions-band")


# -- the history of the estimate -----------------------------------------------------------------------------


def test_the_history_of_the_estimate_is_what_a_replay_says():
    """The predicted end is the moment of the prediction, and what was left then."""
    store = six()
    figure = plot(store, "estimate")
    moments, ends = drawn(figure, "estimate-predicted").get_data()
    assert len(moments) > 50
    ended, again = Timings(), Timings()
    for index, process, start, seconds, status in SIX:
        (again if status == "retried" else ended).add(index, process, start, seconds)
    expected = replay(ended, again, began=0.0, moments=np.linspace(0.0, 45.0, 101).tolist(), total=6)
    assert list(ends - moments) == pytest.approx([each.median for each in expected if each is not None])
    assert ends[-1] == 45.0


def test_what_happened_is_a_line_once_it_has():
    """The true end of a run that was finished; one that was stopped or goes on has none."""
    assert list(drawn(plot(six(), "estimate"), "estimate-truth").get_ydata()) == [45.0, 45.0]
    for other in (six(outcome="stopped"), six(outcome=""), six(outcome="", owner=owner.here())):
        assert not is_drawn(plot(other, "estimate"), "estimate-truth")


def test_of_nothing_to_do_nothing_was_predicted():
    """An end that came at once needs no band; one item is not "all 1 items"."""
    store = MemoryStore()
    add(store, [], ended=0.01)
    figure = plot(store, "all")
    assert "there was nothing to predict" in texts(figure)
    assert not is_drawn(figure, "estimate-predicted")
    assert drawn(figure, "completions-total").get_label() == "no items"
    add(store, [(0, 0, 0.0, 2.0, "done")], ended=2.0)
    assert drawn(plot(store), "completions-total").get_label() == "the one item"


def test_both_axes_of_the_predicted_end_are_in_one_unit():
    """What is on the diagonal has just passed; nobody has to convert."""
    estimates = [(2.0, Estimate(300.0, 400.0, 900.0)), (20.0, Estimate(10.0, 20.0, 30.0))]
    for state, unit in (("finished", "s"), ("running", "min")):
        course = Course("t", state=state, now=100.0, total=9, done=9, times=[1.0], ended=[9])
        course = replace(course, estimates=estimates[: 1 if state == "running" else 2])
        axes = Figure().subplots()
        draw_estimates(axes, course)
        assert axes.get_xlabel() == f"time since the start ({unit})"
        assert axes.get_ylabel() == f"predicted end ({unit})"


# -- the timeline --------------------------------------------------------------------------------------------


def test_each_process_has_a_lane_with_its_items_as_bars():
    """From their start to their end, by how they ended."""
    figure = plot(six(), "timeline")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]

    def bars(name: str) -> list[tuple[float, float, int]]:
        paths = drawn(figure, f"timeline-{name}").get_paths()
        extents = [path.get_extents() for path in paths]
        return sorted((each.x0, each.x1, round((each.y0 + each.y1) / 2)) for each in extents)

    assert bars("done") == [(0.0, 2.0, 0), (0.0, 3.0, 1), (4.0, 6.0, 1), (5.0, 45.0, 0), (6.0, 7.0, 1)]
    assert bars("failed") == [(2.0, 5.0, 0)]
    assert bars("retried") == [(3.0, 4.0, 1)]


def test_an_item_that_reached_no_process_is_in_no_lane():
    """It has failed, but nobody has spent any time on it."""
    store = MemoryStore()
    session = store.begin(a_run(started=BEGAN, numitems=3, owner=KILLED))
    session.record(
        Turn([block(range(3), range(3))], [], [failed(0, again=True), failed(1), failed(2, process=None)])
    )
    figure = plot(store, "timeline")
    assert [len(drawn(figure, f"timeline-{name}").get_paths()) for name in ("retried", "failed")] == [1, 1]
    assert title(figure).endswith("0 of 3 done, 2 failed")


def test_stragglers_are_named():
    """Who looks at the figure wants to know which item it was."""
    assert texts(plot(six(), "timeline")) == "#5"


def test_an_item_that_has_not_ended_has_a_bar_in_a_run_that_goes_on():
    """It may be the straggler for which all wait; in a run that is over, nothing is left open."""
    store = MemoryStore()
    add(store, SIX[:5], outcome="", owner=owner.here(), numitems=100)
    assert len(drawn(plot(store, "timeline"), "timeline-running").get_paths()) == 2
    assert not is_drawn(plot(six(), "timeline"), "timeline-running")


def test_many_items_become_shares_of_columns():
    """A hundred thousand rectangles would take minutes, and show nothing."""
    store, number = MemoryStore(), 100_000
    session = store.begin(a_run(started=BEGAN, numitems=2 * number, owner=KILLED))
    for process in range(2):
        packed = codec.Packed(codec.pack([None] * number), number)
        indices = range(process * number, (process + 1) * number)
        session.record(Turn([], [RecordDone(ItemsDone(process, indices, packed, BEGAN, [1e-4] * number))]))
    session.close("finished", BEGAN + 20.0)
    for kind in KINDS:
        figure = plot(store, kind)
        assert len(figure.findobj()) < 3000
        for line in figure.findobj(matplotlib.lines.Line2D):
            assert len(line.get_xdata()) < 6000
    figure = plot(store, "timeline")
    assert "50 % busy" in figure.axes[0].get_title("left")
    for process in range(2):
        (path,) = drawn(figure, f"timeline-done-{process}").get_paths()
        # full until half of the run is over, then nothing
        assert path.get_extents().height == pytest.approx(0.8)
        filled = path.vertices[np.abs(path.vertices[:, 1] - (process + 0.4)) > 0.01]
        assert filled[:, 0].max() == pytest.approx(10.0, abs=0.1)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=20),
    st.lists(st.integers(0, 500).map(lambda number: number / 4), min_size=2, max_size=8, unique=True),
)
def test_the_share_of_a_column_is_what_lies_in_it(spans, edges):
    """Compared to adding up, interval by interval."""
    edges = np.sort(edges)
    starts = np.array([start for start, _ in spans])
    ends = starts + np.array([seconds for _, seconds in spans])
    shares = busy_share(starts, ends, edges)
    for share, left, right in zip(shares, edges[:-1], edges[1:], strict=True):
        inside = sum(
            max(0.0, min(end, right) - max(start, left)) for start, end in zip(starts, ends, strict=True)
        )
        width = right - left
        assert share == pytest.approx(min(1.0, inside / width), abs=1e-6)


# -- durations -----------------------------------------------------------------------------------------------


def test_durations_are_shown_over_the_index_and_as_a_histogram():
    """What failed has another mark; the median is that of what is done."""
    figure = plot(six(), "durations")
    over, histogram = figure.axes
    assert np.transpose(drawn(figure, "durations-done").get_data()).tolist() == [
        [0, 2.0],
        [1, 3.0],
        [3, 2.0],
        [4, 1.0],
        [5, 40.0],
    ]
    assert np.transpose(drawn(figure, "durations-failed").get_data()).tolist() == [[2, 3.0]]
    assert np.transpose(drawn(figure, "durations-retried").get_data()).tolist() == [[3, 1.0]]
    assert drawn(figure, "durations-median").get_ydata()[0] == 2.0
    assert sum(patch.get_width() for patch in histogram.patches) == 7
    assert over.get_ylim() == histogram.get_ylim()


def test_a_wide_range_of_durations_has_a_logarithmic_axis():
    """Else one straggler would press all others into one line; a narrow one begins at zero."""
    wide, narrow = MemoryStore(), MemoryStore()
    add(wide, [(index, 0, 0.0, 10.0 ** (index % 5 - 3), "done") for index in range(50)])
    add(narrow, [(index, 0, 0.0, 1.0 + index % 3, "done") for index in range(50)])
    figure = plot(wide, "durations")
    assert figure.axes[0].get_yscale() == "log"
    save(figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert {"1 ms", "1 s"} <= set(labels)
    assert plot(narrow, "durations").axes[0].get_yscale() == "linear"
    assert plot(narrow, "durations").axes[0].get_ylim()[0] == 0.0


@pytest.mark.parametrize(
    ("items", "parameters"),
    [
        ([10 * k for k in range(6)], ("k",)),
        ([(10 * k, "x") for k in range(6)], ("k", "mode")),
        ([call(k=10 * k) for k in range(6)], ()),
        ([call("x", k=np.float64(10 * k)) for k in range(6)], ("mode",)),
    ],
)
def test_durations_are_shown_over_a_parameter(items, parameters):
    """In whatever way the items gave it; read without running code."""
    figure = plot(six(items=items, parameters=parameters), "durations", parameter="k")
    assert list(drawn(figure, "durations-done").get_xdata()) == [0, 10, 30, 40, 50]
    assert figure.axes[0].get_xlabel() == "k"


def test_a_parameter_that_is_text_has_its_values_as_marks():
    """Dots of one value lie beside each other."""
    items = [("slow" if k % 2 else "fast",) for k in range(6)]
    figure = plot(six(items=items, parameters=("mode",)), "durations", parameter="mode")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["fast", "slow"]
    assert [round(x) for x in drawn(figure, "durations-done").get_xdata()] == [0, 1, 1, 0, 1]


def test_a_parameter_that_cannot_be_shown_says_why():
    """And what there is instead."""
    with pytest.raises(UnknownName, match=r"no parameter is called 'K'; known: .*k"):
        plot(six(parameters=("k",)), "durations", parameter="K")
    with pytest.raises(UsageError, match=r"'k' is a list; durations are plotted over numbers and texts"):
        plot(six(items=[[k] for k in range(6)], parameters=("k",)), "durations", parameter="k")
    with pytest.raises(UsageError, match=r"'k' cannot be read: the items of find_rate are not plain"):
        plot(six(items=[Poison()] * 6, parameters=("k",)), "durations", parameter="k")
    with pytest.raises(UsageError, match="is for kind='durations'"):
        plot(six(), "timeline", parameter="k")


# -- whatever the run is -------------------------------------------------------------------------------------


class Poison:
    """A value that must not be decoded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return poisoned, ()


def poisoned() -> None:
    raise AssertionError("a value was decoded")


def nothing() -> MemoryStore:
    return MemoryStore()


def no_items() -> MemoryStore:
    store = MemoryStore()
    add(store, [], ended=0.0)
    return store


def one_item() -> MemoryStore:
    store = MemoryStore()
    add(store, SIX[:1], ended=2.0)
    return store


def all_failed() -> MemoryStore:
    store = MemoryStore()
    add(store, [(k, k % 3, k // 3 * 1.0, 1.0, "failed") for k in range(9)], ended=3.0)
    return store


def nothing_ended_yet() -> MemoryStore:
    store = MemoryStore()
    add(store, [], outcome="", owner=owner.here(), numitems=100)
    return store


def goes_on() -> MemoryStore:
    return six(outcome="", owner=owner.here(), numitems=100)


def of_unknown_length() -> MemoryStore:
    return six(outcome="", owner=owner.here(), numitems=None)


def killed() -> MemoryStore:
    return six(outcome="", numitems=100)


def elsewhere() -> MemoryStore:
    """Merged from another computer, whose clock is an hour behind, while it ran."""
    store = six(outcome="", owner="other/boot/namespace/7/1", numitems=100, started=BEGAN + 3600.0)
    return store


def odd_clocks() -> MemoryStore:
    """Clocks that jumped, items of no time, two at once in one process."""
    store = MemoryStore()
    ran = [
        (0, 0, -50.0, 1.0),
        (1, 0, 3.0, 0.0),
        (2, 0, 2.0, 5.0),
        (3, 1, nan, 1.0),
        (4, 1, 1.0, nan),
        (5, 2, inf, 1.0),
    ]
    add(store, [(*each, "done") for each in ran], ended=-5.0)
    return store


def over_at_once() -> MemoryStore:
    """As by a clock that has hardly moved."""
    store = MemoryStore()
    add(store, [(0, 0, 0.0, 5e-324, "done")], ended=0.0)
    return store


def zero_durations() -> MemoryStore:
    store = MemoryStore()
    add(store, [(k, 0, 0.0, 0.0, "done") for k in range(5)], ended=0.0)
    return store


def many_processes() -> MemoryStore:
    store = MemoryStore()
    add(store, [(k, k % 200, k // 200 * 1.0, 1.0, "done") for k in range(600)], ended=3.0)
    return store


def strange_names() -> MemoryStore:
    return six(task="$\\frac{<lambda>}$\n\x1b[31m_^{")


STORES = [
    nothing,
    no_items,
    one_item,
    six,
    all_failed,
    nothing_ended_yet,
    goes_on,
    of_unknown_length,
    killed,
    elsewhere,
    odd_clocks,
    zero_durations,
    over_at_once,
    many_processes,
    strange_names,
]


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.__name__)
def test_whatever_the_run_is_there_is_a_labelled_figure(store):
    """Nobody has to look whether there is something to plot; a warning would be an error here."""
    figure = plot(store(), "all")
    assert title(figure)
    assert save(figure).startswith(b"\x89PNG")
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
    if store in (nothing, no_items, nothing_ended_yet):
        assert texts(figure).count("no item has ended") == 3
        why = "there was nothing to predict" if store is no_items else "nothing has been predicted"
        assert why in texts(figure)
        for kind in KINDS:
            assert title(plot(store(), kind))


@pytest.mark.parametrize(
    ("kind", "format", "magic"),
    [
        ("timeline", "png", b"\x89PNG"),
        ("durations", "svg", b"<?xml"),
        ("all", "svg", b"<?xml"),
        ("all", "pdf", b"%PDF"),
    ],
)
def test_figures_are_pictures_and_drawings(kind, format, magic):
    """For a screen and for a paper; in a drawing, names of things are there once, as they must be."""
    written = save(plot(six(), kind), format)
    assert written.startswith(magic)
    if format == "svg":
        ids = re.findall(r' id="([^"]+)"', written.decode())
        assert len(ids) == len(set(ids)) > 10


anything = st.floats() | st.floats(-10, 100)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=10, deadline=None)
@given(
    ran=st.lists(
        st.tuples(
            st.integers(0, 20), st.integers(0, 3), anything, anything, st.sampled_from(["done", "failed"])
        ),
        max_size=12,
        unique_by=lambda row: row[0],
    ),
    outcome=st.sampled_from(["", "finished", "stopped"]),
    ended=st.floats(-100, 100),
)
def test_no_record_is_too_odd_to_be_drawn(ran, outcome, ended):
    """In whatever order and at whatever times."""
    store = MemoryStore()
    add(store, ran, outcome=outcome, ended=ended)
    plot(store, "all").draw_without_rendering()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [None, (3.4, 2.6)], ids=["default", "column"])
def test_no_text_lies_on_another(kind, size):
    """At the default size, and in a column of a paper, where a legend goes below its title."""
    if kind == "all" and size:
        size = (8.0, 6.0)
    figure = plot(
        six(outcome="", owner=owner.here(), started=time.time() - 50.0, numitems=9), kind, size=size
    )
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [figure._suptitle.get_window_extent()]
        boxes += [
            title.get_window_extent() for title in (axes._left_title, axes._right_title) if title.get_text()
        ]
        if kind not in ("completions", "all") and axes.get_legend() is not None:
            boxes.append(axes.get_legend().get_window_extent())
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:number])
        assert all(box.x0 >= 0.0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_no_value_is_read():
    """A store that nobody trusts, or whose classes are not there, is plotted all the same."""
    store = MemoryStore()
    run = a_run(started=BEGAN, numitems=3)
    session = store.begin(run)
    poison = codec.encode(Poison())
    seconds = [1.0, 2.0]
    turn = [RecordDone(ItemsDone(0, range(2), [poison] * 2, BEGAN, seconds))]
    session.record(Turn([block(range(3), [Poison()] * 3)], turn))
    session.close("finished", BEGAN + 3.0)
    with pytest.raises(AssertionError, match="was decoded"):
        store.values()
    for kind in KINDS:
        plot(store, kind)


# -- which run -----------------------------------------------------------------------------------------------


def test_by_default_it_is_the_newest_run_in_which_something_has_ended():
    """The one that was just begun would be an empty figure; its title says which run it is."""
    store = MemoryStore()
    add(store, SIX, task="old", started=BEGAN - 100)
    uid = add(store, SIX, task="new")
    add(store, [], task="begun", started=BEGAN + 100, outcome="", owner=owner.here(), numitems=5)
    assert title(plot(store)).startswith(f"new  ·  run {uid[:6]}")
    assert title(plot(store, task="old")).startswith("old")
    assert title(plot(store, run=uid)).startswith("new")
    assert title(plot(store, run=store.runs()[0])).startswith("old")


def test_durations_of_a_task_are_those_of_all_its_runs():
    """A run that was killed and resumed is two."""
    store = MemoryStore()
    add(store, SIX, started=BEGAN - 100)
    add(store, SIX)
    add(store, SIX[:1], task="other")
    figure = plot(store, "durations", task="find_rate")
    assert len(drawn(figure, "durations-done").get_xdata()) == 10
    assert title(figure) == "find_rate  ·  2 runs  ·  10 done, 2 failed"


def test_what_is_not_there_is_an_error_that_says_what_is():
    """A name that was mistyped is no traceback's fault."""
    with pytest.raises(UnknownName, match=r"no kind of figure is called 'pie'; known: .*completions"):
        plot(six(), "pie")
    with pytest.raises(UsageError, match=r"there is no run 'zzz'; there is run.* \(find_rate, finished"):
        plot(six(), run="zzz")
    with pytest.raises(UnknownName, match=r"no task is called 'nix'; known: .*find_rate"):
        plot(six(), task="nix")


def test_a_path_is_opened_and_closed_again(tmp_path):
    """It must be there: plotting makes no new store."""
    with pytest.raises(UsageError, match="there is no store"):
        plot(tmp_path / "typo.db")
    assert list(tmp_path.iterdir()) == []
    pytest.importorskip("farmhand_sqlite")
    from farmhand import open_store

    path = tmp_path / "rates.db"
    with open_store(path) as store:
        run_tasks(store, abs, range(5), poolsize=1, progress="none")
    for kind in KINDS:
        assert "abs" in title(plot(path, kind))
        assert "5 done" in title(plot(str(path), kind))
    assert [each.name for each in tmp_path.iterdir()] == ["rates.db"]  # no log of an open database


def test_a_real_run_is_plotted_as_it_was():
    """With the times that the processes have measured, which all lie within the run."""
    store = MemoryStore()
    summary = run_tasks(store, hex, [*range(20), "x"], poolsize=2, progress="none", errors="collect")
    figure = plot(store, "all", run=summary.run)
    times, counts = drawn(figure, "completions-ended").get_data()
    assert counts[-1] == 21
    assert list(times) == sorted(times)
    assert "20 done, 1 failed" in title(figure)


# -- looks ---------------------------------------------------------------------------------------------------


def lightness(colour: str) -> float:
    """CIE L*, from 0 to 100: what is left of a colour in grey."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    return 116.0 * luminance ** (1 / 3) - 16.0 if luminance > 0.008856 else 903.3 * luminance


def test_statuses_differ_in_grey():
    """On paper, and for who sees no colours; ten units of lightness are seen at a glance."""
    levels = sorted(map(lightness, looks.COLOURS.values()))
    assert np.diff(levels).min() > 10.0


def test_a_figure_is_the_same_whatever_somebody_has_set_for_others():
    """Nothing global is changed, either."""
    before, store = dict(matplotlib.rcParams), six()
    plain = save(plot(store))
    assert dict(matplotlib.rcParams) == before
    changes = {
        "axes.facecolor": "black",
        "figure.facecolor": "black",
        "axes.grid": False,
        "axes.labelcolor": "red",
    }
    with matplotlib.rc_context(changes):
        assert save(plot(store)) == plain


@pytest.mark.parametrize(
    ("longest", "unit"),
    [
        (2e-4, "µs"),
        (0.02, "ms"),
        (3.0, "s"),
        (100.0, "s"),
        (1000.0, "min"),
        (20_000.0, "h"),
        (1e6, "days"),
        (1e9, "days"),
    ],
)
def test_an_axis_of_time_names_its_unit(longest, unit):
    """And has a few round marks, from microseconds to years."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_xlim(0.0, longest)
    looks.time_axis(axes.xaxis, longest, "time")
    assert axes.get_xlabel() == f"time ({unit})"
    figure.canvas.draw()
    marks = [at for at in axes.get_xticks() if 0.0 <= at <= longest]
    assert 2 <= len(marks) <= 12


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (2.1e-7, "210 ns"),
        (0.0432, "43.2 ms"),
        (2.81, "2.81 s"),
        (80.0, "1m 20s"),
        (nan, "?"),
        (inf, "?"),
    ],
)
def test_times_are_told_with_their_unit(seconds, text):
    """As SI has it, and above a minute as a clock."""
    assert looks.took(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (1500, "1500"), (15_000, "15 k"), (2_500_000, "2.5 M"), (3e9, "3 G")]
)
def test_counts_are_told_in_short(count, text):
    """Six zeros are hard to count."""
    assert looks.count_text(count) == text


# -- in a program --------------------------------------------------------------------------------------------


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    about: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": DEADLINE}
    return subprocess.run([sys.executable, "-c", code], **about).stdout.strip()


def test_importing_the_package_is_light():
    """Its entry module is imported by every farm that looks for a plugin."""
    loaded = "import sys, farmhand_plot; print('matplotlib' in sys.modules, 'numpy' in sys.modules)"
    assert python(loaded) == "False False"


def test_a_figure_needs_no_window_and_no_pyplot():
    """So that it is drawn on a cluster, in a thread, beside a program that has figures of its own."""
    code = (
        "import sys, io; from farmhand import MemoryStore; from farmhand_plot import plot\n"
        "plot(MemoryStore(), 'all').savefig(io.BytesIO())\n"
        "print(*(name for name in ('matplotlib.pyplot', 'tkinter', '_tkinter') if name in sys.modules))"
    )
    assert python(code) == ""


def test_figures_are_drawn_in_several_threads_at_once():
    """Each has its own; they come out as if they were drawn one after the other."""
    store = six()
    expected = save(plot(store, "timeline"))
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(save(plot(store, "timeline")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert found == [expected] * 4
