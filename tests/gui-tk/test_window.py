"""The window itself, on a real display, shown to by a farm's end of its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from farmhand.events import Control, Finish, Pause, Resize, Resume, Stop
from farmhand.messages import encoded
from farmhand.progress import Estimate, FrontendOptions, ProcessView, Snapshot
from farmhand.testing.frontends import FrontendConformance, a_failure, a_run
from shown_window import ShownWindow
from virtual_display import VirtualDisplay
from wavering import NOON, told, wavering_run

BUSY = ProcessView(0, 77, "busy", 12, "(13.2, 0.5)", "k = 13.2: simulating", 12.0, 0.4, 0.42, 18.0, 1)
RUN = Snapshot(
    task="find_rate",
    store="/data/rates.db",
    run="r1",
    total=300,
    done=100,
    elapsed=725.0,
    complete=0.4,
    rate=0.2,
    remaining=Estimate(720.0, 900.0, 1140.0),
    cpu=0.87,
    wanted=2,
    processes=(BUSY, replace(BUSY, number=1, expected=0.7)),
)

pytestmark = pytest.mark.usefixtures("on_display")


@pytest.fixture
def window() -> Iterator[ShownWindow]:
    """A window that stays."""
    shown = ShownWindow()
    yield shown
    shown.end()


@pytest.fixture(scope="module")
def one_window(virtual_display: VirtualDisplay) -> Iterator[ShownWindow]:
    """A window that shows one run after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", virtual_display.name)
        patch.setenv("FARMHAND_THEME", "light")
        shown = ShownWindow()
    yield shown
    shown.end()


class NextRun:
    """A frontend that shows its run in a window that is open already, as the runs of a script do.

    From the hundredth snapshot on, the window only looks now and then: it is slower than the farm.
    """

    count = 0

    def __init__(self, window: ShownWindow) -> None:
        NextRun.count += 1
        self._run = f"run {NextRun.count}"
        self._window = window
        self._shown = 0
        window.farm.begin()

    def show(self, snapshot: Snapshot) -> None:
        self._shown += 1
        self._window.farm.show(replace(snapshot, run=self._run))
        if self._shown < 100 or self._shown % 20 == 0:
            self._window.draw()

    def controls(self) -> Iterable[Control]:
        return self._window.controls()

    def close(self) -> None:
        self._window.draw()
        assert not self._window.mistakes, self._window.mistakes


class TestConformance(FrontendConformance):
    """Whatever a farm can show, the window shows, and nothing in it goes wrong."""

    @pytest.fixture
    def options(self) -> FrontendOptions:
        return FrontendOptions(task="find_rate")  # there are no others for a window

    @pytest.fixture
    def make_frontend(self, one_window: ShownWindow) -> Callable[[FrontendOptions], NextRun]:
        return lambda options: NextRun(one_window)


# -- what is seen ----------------------------------------------------------------------------------


def test_a_run_is_shown_with_its_numbers_and_a_row_for_each_process(window):
    """What the user came for, at one look."""
    window.show(RUN)
    overview = window.app.overview
    assert window.root.title() == "find_rate 40 % - rates.db"
    assert overview.done["text"] == "100 of 300 done"
    assert overview.percent["text"] == "40 %"
    assert overview.remaining["text"].startswith("12-20 min, about ")
    assert overview.condition["text"] == "▶ Running"
    window.until(lambda: len(window.app.processes.texts()) == 2)
    assert window.app.processes.texts()[0] == "0 k = 13.2: simulating 42 % 12s 18s"


def test_processes_elsewhere_are_shown_with_their_computers(window):
    """In a column that comes with the first of them, where there is room for it."""
    rows = window.app.processes
    window.show(RUN)
    window.until(lambda: len(rows.texts()) == 2)
    assert not rows.columns.shows_computer
    elsewhere = [replace(BUSY, number=0, computer="node0.example"), ProcessView(1, state="waiting")]
    window.show(replace(RUN, processes=tuple(elsewhere)))
    window.until(lambda: rows.texts()[0] == "0 node0 k = 13.2: simulating 42 % 12s 18s")
    assert rows.texts()[1] == "1 waiting for a free worker"
    window.show(RUN)
    window.until(lambda: rows.texts()[0] == "0 k = 13.2: simulating 42 % 12s 18s")


def test_bars_move_with_what_is_expected(window):
    """Between two reports the farm says where an item probably is; the bar is drawn there."""
    window.show(RUN)
    window.until(lambda: window.app.processes.texts())
    before = bar_ends(window)
    window.show(replace(RUN, processes=(replace(BUSY, expected=0.9), RUN.processes[1])))
    after = bar_ends(window)
    assert after[0] > before[0] + 10
    assert after[1] == before[1]


def test_what_prepares_says_so_where_the_percent_will_be(window):
    """The word has its room from the bar: neither is drawn over the other, however small the window is."""
    preparing = replace(BUSY, complete=None, expected=None, remaining=None, phase="preparing")
    part = replace(RUN.processes[1], complete=0.9, expected=0.9, phase="warm-up")
    width, height = window.root.minsize()
    for size in ("", f"{width}x{height}"):
        window.root.geometry(size)
        window.show(replace(RUN, processes=(preparing, part)))
        window.until(lambda: len(window.app.processes.texts()) == 2)
        canvas = window.app.processes.canvas
        (word,) = [
            item
            for item in canvas.find_all()
            if canvas.type(item) == "text" and canvas.itemcget(item, "text") == "preparing"
        ]
        left, top, _, bottom = canvas.bbox(word)
        for item in canvas.find_overlapping(left, top, left + 1, bottom):
            assert canvas.type(item) == "text"
        assert "warm-up" in window.app.processes.texts()[1]


def bar_ends(window: ShownWindow) -> list[float]:
    """How far to the right the drawn part of each row's bar goes, from the top."""
    canvas = window.app.processes.canvas
    colour = window.app.looks.palette.running
    bars = [
        canvas.coords(item)
        for item in canvas.find_all()
        if canvas.type(item) == "rectangle"
        and canvas.itemcget(item, "fill") == colour
        and canvas.itemcget(item, "state") != "hidden"
    ]
    return [right for _, _, right, _ in sorted(bars, key=lambda box: box[1])]


def test_the_numbers_change_at_most_once_a_second(window):
    """Nobody can read a flicker; the bar moves all the same, and another state is shown at once."""
    window.show(RUN)
    window.show(replace(RUN, remaining=Estimate(3600.0, 4000.0, 5000.0), done=101))
    assert window.app.overview.remaining["text"].startswith("12-20 min")
    assert window.app.overview.done["text"] == "101 of 300 done"
    window.show(replace(RUN, remaining=Estimate(3600.0, 4000.0, 5000.0), elapsed=RUN.elapsed + 1.0))
    assert window.app.overview.remaining["text"].startswith("60-80 min")
    window.show(replace(RUN, state="paused"))
    assert window.app.overview.remaining["text"] == "12-20 min, when it goes on"


def test_the_window_says_what_all_frontends_say_of_the_time_remaining(window, monkeypatch):
    """Who looks at the window and at the terminal must not wonder which of them is right."""
    monkeypatch.setattr(window.app, "_now", lambda: NOON)
    history = wavering_run()
    for snapshot, left in zip(history, told(history, NOON), strict=True):
        window.show(snapshot)
        assert window.app.overview.remaining["text"] == (str(left) or "-")


def test_sixty_four_processes_scroll_by_wheel_and_keys(window):
    """Only the rows that are seen are drawn, and all of them can be reached."""
    views = tuple(replace(BUSY, number=n, taskname=f"item of {n}") for n in range(64))
    window.show(replace(RUN, processes=views, wanted=64))
    rows = window.app.processes
    window.until(lambda: rows.texts() and rows.texts()[0].startswith("0 "))
    assert len(rows.texts()) < 30
    rows.canvas.event_generate("<Button-5>")
    window.update()
    assert rows.texts()[0].startswith("3 ")
    rows.canvas.focus_force()
    window.until(lambda: window.root.focus_get() is rows.canvas)
    window.press("<End>")
    assert any(text.startswith("63 ") for text in rows.texts())
    window.press("<Home>")
    assert rows.texts()[0].startswith("0 ")


def test_silence_is_told_and_bars_stand_still_meanwhile(window):
    """The farm may store, or read items; nothing is made up in the meantime."""
    silent = replace(BUSY, complete=None, expected=None)
    window.show(replace(RUN, processes=(silent,)))
    window.draw(1.0)
    assert window.app.overview.news["text"] == ""
    before = bar_ends(window)
    window.draw(11.0)
    assert window.app.overview.news["text"] == "no news for 12s"
    assert bar_ends(window) == before
    window.show(RUN)
    assert window.app.overview.news["text"] == ""


def test_the_end_says_how_it_went_and_takes_no_orders(window):
    """The summary that the terminal has as well."""
    for snapshot in a_run():
        window.show(snapshot)
    assert window.app.overview.condition["text"] == "✓ Finished in 5.0s"
    assert window.root.title().startswith("find_rate finished")
    assert window.app.controls.pause_button.instate(["disabled"])
    assert window.app.overview.percent["text"] == "100 %"


def test_a_window_that_was_minimized_shows_how_it_went(window):
    """While nobody sees it nothing is drawn, and then no more snapshots come."""
    window.show(RUN)
    window.root.withdraw()
    window.until(lambda: not window.root.winfo_viewable())
    window.show(replace(RUN, state="finished", done=300, complete=1.0, processes=()))
    assert window.app.overview.condition["text"] == "▶ Running"
    assert window.root.title().startswith("find_rate finished")
    window.root.deiconify()
    window.until(window.root.winfo_viewable)
    window.draw()
    assert window.app.overview.condition["text"] == "✓ Finished in 12m 05s"


@pytest.mark.parametrize("state", ["stopping", "stopped", "broken"])
def test_a_run_that_stops_by_itself_says_why(window, state):
    """A reason is as long as it is: it has lines of its own, and pushes nothing away."""
    window.show(replace(RUN, state=state, reason="no space left on the device, " * 8))
    assert "no space left on the device" in window.app.controls.message["text"].lower()
    assert "device" not in window.app.overview.condition["text"]
    window.show(RUN)
    assert window.app.controls.message["text"] == ""


def test_a_long_name_leaves_room_for_the_rest(window):
    """Tasks may be called anything; the state and the menu stay where they are."""
    window.show(replace(RUN, task="w" * 300, store="/data/" + "w" * 300, state="finishing"))
    window.until(lambda: window.app.overview.task["text"].endswith("..."))
    window.update()
    menu = window.app.overview.menu_button
    assert menu.winfo_rootx() + menu.winfo_width() <= window.root.winfo_rootx() + window.root.winfo_width()
    assert window.app.overview.condition.winfo_width() >= window.app.overview.condition.winfo_reqwidth()


def test_a_watched_run_says_whose_it_is():
    """Several farms may write into one store."""
    shown = ShownWindow(watching=True)
    shown.show(replace(RUN, pid=4242))
    shown.until(lambda: shown.app.overview.store["text"] == "/data/rates.db (run by process 4242)")
    shown.end()


# -- failures --------------------------------------------------------------------------------------


def failing(*numbers: int, failed: int | None = None) -> Snapshot:
    last = numbers[-1] if failed is None else failed
    return replace(RUN, failed=last, failures=tuple(a_failure(n) for n in numbers))


def test_the_first_failure_opens_a_tab_that_does_not_push_itself_forward(window):
    """The user looks at something else; the number in the title is enough."""
    window.show(RUN)
    assert window.tab_texts() == ["Chart"]
    window.show(failing(1, 2, 3))
    assert window.tab_texts() == ["Chart", "Failures (3)"]
    assert window.app.tabs.index("current") == 0
    assert window.app.overview.failed["text"] == "3 failed"


def test_a_selected_failure_is_shown_whole_and_copied(window):
    """Traceback, output, and the command that runs that item again."""
    window.show(failing(1, 2, 3))
    window.click(window.app.overview.failed)
    failures = window.app.failures
    assert failures.list.selection() == ("3",)  # the newest one
    failures.list.selection_set("2")
    window.until(lambda: "printed by 2" in failures.text.get("1.0", "end"))
    text = failures.text.get("1.0", "end")
    assert "ValueError: no" in text
    assert f"farmhand rerun /data/rates.db {a_failure(2).key}" in text
    window.click(failures.copy_button)
    assert "Item 2: k=2" in window.root.clipboard_get()
    assert "printed by 2" in window.root.clipboard_get()


def test_failures_that_went_by_are_counted_with_the_command_that_lists_them(window):
    """What is not shown is not hidden."""
    window.show(failing(*range(301, 401), failed=400))
    assert len(window.app.failures.list.get_children()) == 100
    assert window.app.failures.more["text"] == "and 300 more: farmhand failures /data/rates.db"


def test_the_list_follows_the_newest_failure_unless_somebody_reads_an_older_one(window):
    """As a terminal does."""
    window.show(failing(*range(1, 51)))
    window.click(window.app.overview.failed)
    rows = window.app.failures.list
    window.until(lambda: rows.yview()[1] == 1.0, "the newest failure")
    window.show(failing(*range(2, 61), failed=60))
    assert rows.yview()[1] == 1.0
    rows.yview_moveto(0.0)
    window.show(failing(*range(3, 71), failed=70))
    assert rows.yview()[0] == 0.0


def test_items_are_listed_as_they_are_written(window):
    """Tcl has meanings of its own for braces, brackets and backslashes, which Python's values are full of."""
    texts = ["{'a': 1}", "[exit]", "$HOME", "C:\\new", '"', "{", "007", "ünïcödé 漢字"]
    failures = tuple(replace(a_failure(n), item=text) for n, text in enumerate(texts, 1))
    window.show(replace(RUN, failed=len(texts), failures=failures))
    rows = window.app.failures.list
    assert [str(rows.tk.call(rows, "set", row, "item")) for row in rows.get_children()] == texts


# -- the chart -------------------------------------------------------------------------------------


def test_the_chart_shows_the_line_and_where_it_leads(window):
    """A band from now to the goal, which is wide when the time remaining is uncertain."""
    window.show(replace(RUN, history=((0.0, 0), (400.0, 50))))
    canvas = window.app.chart.canvas
    window.until(lambda: canvas.find_all())
    bands = [canvas.coords(item) for item in canvas.find_all() if canvas.type(item) == "polygon"]
    assert len(bands) == 1
    now_x, now_y, low_x, low_y, high_x, high_y = bands[0]
    assert now_x < low_x < high_x < canvas.winfo_width()
    assert low_y == high_y < now_y
    window.show(replace(RUN, total=None, complete=None, elapsed=800.0))
    assert not [item for item in canvas.find_all() if canvas.type(item) == "polygon"]


def test_the_chart_and_the_numbers_tell_the_same_end(window):
    """Two times of day for one event are one too many, also between two drawings of the chart."""
    canvas = window.app.chart.canvas
    shown = []
    for minutes in range(0, 12, 3):
        median = 900.0 + 60.0 * minutes
        late = Estimate(median - 150.0, median, median + 200.0)
        window.show(replace(RUN, elapsed=RUN.elapsed + minutes, remaining=late))
        _, _, end = window.app.overview.remaining["text"].partition(", ")
        shown.append(end)
        texts = [canvas.itemcget(item, "text") for item in canvas.find_all() if canvas.type(item) == "text"]
        assert f"end {end}" in texts
        window.draw(1.0)
    assert len(set(shown)) > 1


def test_the_chart_fills_the_room_that_it_is_given(window):
    """A larger window shows more of it, and a smaller one all of it."""
    window.show(RUN)
    canvas = window.app.chart.canvas
    window.until(lambda: canvas.find_all())
    before = canvas.winfo_width()
    window.root.geometry(f"{window.root.winfo_width() + 200}x{window.root.winfo_height()}")
    window.until(lambda: canvas.winfo_width() > before + 150)
    window.until(lambda: before < canvas.bbox("all")[2] <= canvas.winfo_width())


# -- orders ----------------------------------------------------------------------------------------


def test_pause_says_that_it_was_pressed_and_then_that_it_took_effect(window):
    """Between the two may be a long transaction of the store."""
    window.show(RUN)
    button = window.app.controls.pause_button
    window.click(button)
    assert window.asked == [Pause()]
    assert (button["text"], button.instate(["disabled"])) == ("Pausing...", True)
    window.click(button)
    assert window.asked == [Pause()]
    window.show(replace(RUN, state="paused"))
    assert (button["text"], button.instate(["disabled"])) == ("Resume", False)
    assert window.app.overview.condition["text"] == "‖ Paused: 2 items still run"
    window.click(button)
    assert window.asked == [Pause(), Resume()]
    assert button["text"] == "Resuming..."
    window.show(RUN)
    assert button["text"] == "Pause"


def test_finishing_lets_the_running_items_end(window):
    """And says how many these are."""
    window.show(RUN)
    window.click(window.app.controls.finish_button)
    assert window.asked == [Finish()]
    window.show(replace(RUN, state="finishing"))
    assert window.app.overview.condition["text"] == "… Finishing: 2 items still run"
    assert window.app.controls.finish_button["text"] == "Finishing..."
    assert window.app.controls.stop_button.instate(["!disabled"])


def test_terminate_asks_once_and_says_what_is_kept_and_what_is_lost(window):
    """The question is in the window, with the numbers of now; the safe answer has the focus."""
    window.show(RUN)
    controls = window.app.controls
    window.click(controls.stop_button)
    assert controls.asks
    assert window.asked == []
    assert controls.question["text"] == (
        "100 results are stored in rates.db and stay. "
        "2 running items are given up; with resume=True they run again."
    )
    window.show(replace(RUN, done=101))
    assert controls.question["text"].startswith("101 results")
    window.click(controls.yes_button)
    assert window.asked == [Stop()]
    assert not controls.asks
    assert controls.stop_button["text"] == "Terminating..."
    window.show(replace(RUN, state="stopping"))
    assert window.app.overview.condition["text"] == "… Stopping"
    window.show(replace(RUN, state="stopped", processes=()))
    assert window.app.overview.condition["text"] == "■ Stopped after 12m 05s"


@pytest.mark.parametrize("how", ["<Escape>", "the button"])
def test_a_run_that_was_nearly_terminated_goes_on(window, how):
    """Escape and the safe button ask for nothing."""
    window.show(RUN)
    controls = window.app.controls
    window.click(controls.stop_button)
    if how == "the button":
        window.click(controls.keep_button)
    else:
        controls.keep_button.focus_force()
        window.until(lambda: window.root.focus_get() is controls.keep_button)
        window.press(how)
    assert not controls.asks
    assert window.asked == []
    assert controls.stop_button["text"] == "Terminate..."


def test_the_question_goes_away_when_the_run_ends_by_itself(window):
    """There is nothing left to terminate."""
    window.show(RUN)
    window.click(window.app.controls.stop_button)
    window.show(replace(RUN, state="finished", processes=()))
    assert not window.app.controls.asks
    assert window.asked == []


def test_the_number_of_processes_is_asked_for_and_followed(window):
    """It takes effect after Enter, and shows what others have asked for meanwhile."""
    window.show(RUN)
    box = window.app.controls.processes
    assert box.get() == "2"
    box.focus_force()
    window.until(lambda: window.root.focus_get() is box)
    box.delete(0, "end")
    box.insert(0, "6")
    window.show(RUN)
    assert box.get() == "6"  # what is being typed is left alone
    window.press("<Return>")
    window.controls()
    assert window.asked == [Resize(6)]
    window.show(replace(RUN, wanted=6))
    assert window.app.controls.change["text"] == "from 2 to 6..."
    window.show(replace(RUN, wanted=3, processes=(BUSY, BUSY, BUSY)))
    assert box.get() == "3"
    assert window.app.controls.change["text"] == ""


def test_turning_the_number_of_processes_asks_once(window):
    """Nobody wants seven farms on the way from one to eight processes."""
    window.show(RUN)
    box = window.app.controls.processes
    for _ in range(3):
        box.event_generate("<<Increment>>")
        window.update()
    window.until(lambda: window.controls() or window.asked, "the number of processes")
    assert window.asked == [Resize(5)]


def test_an_order_that_is_not_followed_says_why(window):
    """And the button can be pressed again."""
    window.show(RUN)
    button = window.app.controls.pause_button
    button.invoke()
    window.farm.stream.send(encoded({"answer": 1, "error": "that run is over"}))
    window.draw()
    assert window.app.controls.message["text"] == "Not done: that run is over"
    assert (button["text"], button.instate(["disabled"])) == ("Pause", False)
    button.invoke()
    window.show(replace(RUN, state="paused"))
    assert window.app.controls.message["text"] == ""


def test_no_word_is_taken_for_a_number_of_processes(window):
    """Letters cannot be typed, and zero, or nothing, is no number to ask for."""
    window.show(RUN)
    box = window.app.controls.processes
    box.focus_force()
    window.until(lambda: window.root.focus_get() is box)
    box.insert("end", "x-1")
    assert box.get() == "2"
    for text in ("", "0"):
        box.delete(0, "end")
        box.insert(0, text)
        window.press("<Return>")
        window.show(RUN)
        assert box.get() == "2"
    window.controls()
    assert window.asked == []


# -- keys and looks --------------------------------------------------------------------------------


def test_every_control_is_reached_by_tab(window):
    """Without a mouse, in the order in which they are seen."""
    window.show(failing(1))
    controls = window.app.controls
    wanted = [
        window.app.overview.menu_button,
        window.app.overview.failed,
        window.app.processes.canvas,
        window.app.tabs,
        controls.pause_button,
        controls.finish_button,
        controls.stop_button,
        controls.processes,
    ]
    found = []
    window.update()
    at = window.root.tk_focusNext()
    while at is not None and at not in found:
        found.append(at)
        at = at.tk_focusNext()
    assert [each for each in found if each in wanted] == wanted


@pytest.mark.parametrize(
    ("key", "control"), [("<Alt-p>", Pause()), ("<Alt-f>", Finish())], ids=["pause", "finish"]
)
def test_the_underlined_letters_work_with_alt(window, key, control):
    """As in other programs of the desktop."""
    window.show(RUN)
    window.root.focus_force()
    window.until(lambda: window.root.focus_get() is not None)
    window.press(key)
    window.controls()
    assert window.asked == [control]


def test_enter_presses_the_button_that_has_the_focus(window):
    """The space bar does, too; people try both."""
    window.show(RUN)
    button = window.app.controls.pause_button
    button.focus_force()
    window.until(lambda: window.root.focus_get() is button)
    window.press("<Return>")
    window.until(lambda: window.controls() or window.asked, "pause")
    assert window.asked == [Pause()]


def test_the_theme_changes_everything_at_once(window):
    """Light and dark, chosen in the menu, with everything that is on the screen."""
    window.show(failing(1))
    app = window.app
    light = (
        app.chart.canvas["background"],
        app.failures.text["background"],
        app.processes.canvas["background"],
    )
    app.theme.set("dark")
    window.update()
    dark = (
        app.chart.canvas["background"],
        app.failures.text["background"],
        app.processes.canvas["background"],
    )
    assert len(set(light)) == len(set(dark)) == 1
    assert brightness(window, light[0]) > 0.9
    assert brightness(window, dark[0]) < 0.3
    app.theme.set("light")
    assert app.chart.canvas["background"] == light[0]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(window, theme):
    """A contrast of 4.5, which is what the web's guidelines ask for."""
    window.app.theme.set(theme)
    p = window.app.looks.palette
    for colour in (p.text, p.quiet, p.accent, p.bad, p.wait, p.good):
        for behind in (p.window, p.surface):
            assert contrast(window, colour, behind) >= 4.5, (colour, behind)
    assert contrast(window, p.accent_text, p.accent) >= 4.5
    assert contrast(window, p.accent, p.trough) >= 3.0


def brightness(window: ShownWindow, colour: str) -> float:
    parts = [value / 65535 for value in window.root.winfo_rgb(colour)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(window: ShownWindow, one: str, other: str) -> float:
    dark, light = sorted((brightness(window, one), brightness(window, other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_smallest_window_still_has_every_button(window):
    """It is not possible to make it so small that something cannot be reached."""
    window.show(RUN)
    width, height = window.root.minsize()
    window.root.geometry(f"{width}x{height}")
    window.until(lambda: window.root.winfo_width() == width and window.root.winfo_height() == height)
    for widget in (
        window.app.controls.processes,
        window.app.overview.menu_button,
        window.app.controls.stop_button,
    ):
        right = widget.winfo_rootx() + widget.winfo_width() - window.root.winfo_rootx()
        bottom = widget.winfo_rooty() + widget.winfo_height() - window.root.winfo_rooty()
        assert right <= width
        assert bottom <= height
    assert window.app.chart.canvas.winfo_height() > 50


# -- the connection --------------------------------------------------------------------------------


def test_another_run_begins_with_nothing_of_the_one_before(window):
    """One window serves all runs of a script."""
    window.show(failing(1, 2))
    window.show(replace(failing(1, 2), state="finished", processes=()))
    window.farm.begin()
    window.show(replace(RUN, run="r2", done=0, complete=0.0, elapsed=0.1))
    assert window.tab_texts() == ["Chart"]
    assert window.app.failures.list.get_children() == ()
    assert window.app.overview.condition["text"] == "▶ Running"
    assert window.app.controls.pause_button.instate(["!disabled"])


def test_a_farm_that_dies_is_reported_with_what_it_left(window):
    """Killed, or without power: the window is all that is left to say it."""
    window.show(RUN)
    window.farm.close()
    window.draw()
    app = window.app
    assert app.lost
    assert app.overview.condition["text"] == "✗ The farm is gone"
    assert app.controls.message["text"].endswith(
        "100 of 300 are stored in rates.db; resume=True runs the rest."
    )
    for button in (app.controls.pause_button, app.controls.finish_button, app.controls.stop_button):
        assert button.instate(["disabled"])
    assert app.controls.processes.instate(["disabled"])
    window.draw(100.0)
    assert not app.closed


def test_what_is_no_farm_is_said_to_be_none(window):
    """A newer farmhand, or something else altogether, at the other end."""
    window.show(RUN)
    window.farm.stream.send(b"<html>\n")
    window.draw()
    assert "cannot be read" in window.app.controls.message["text"]
    assert window.app.controls.pause_button.instate(["disabled"])


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "killed"])
def test_a_window_that_closes_with_the_script_does(ended):
    """``gui='close'``: nothing is left of it, however the script ended."""
    shown = ShownWindow(after="close")
    shown.show(RUN)
    if ended:
        shown.show(replace(RUN, state="finished", processes=()))
    shown.close()
    assert shown.app.closed


def test_a_window_that_stays_does():
    """``gui='stay'``: until its user closes it."""
    shown = ShownWindow(after="stay")
    shown.show(replace(RUN, state="finished", processes=()))
    shown.farm.close()
    shown.draw()
    shown.draw(1.0)
    assert not shown.app.closed
    shown.draw(1000.0)
    assert not shown.app.closed
    shown.end()


def test_a_window_that_nobody_looks_at_closes_with_the_script(on_display):
    """By default: nobody is at the keyboard, the pointer is elsewhere, and the focus as well."""
    shown = ShownWindow(after="auto")
    other = ShownWindow()
    on_display.do("mousemove", 0, 0)
    other.root.focus_force()
    shown.until(lambda: other.update() or shown.root.focus_displayof() is None, "the focus elsewhere")
    shown.show(replace(RUN, state="finished", processes=()))
    shown.draw(1000.0)
    shown.farm.close()
    shown.draw()
    shown.draw(1.0)
    assert shown.app.closed
    other.end()
    shown.end()


def test_a_window_that_is_put_away_while_the_script_ends_goes(on_display):
    """It takes a moment until everybody has heard of that."""
    shown = ShownWindow(after="auto")
    on_display.do("mousemove", 0, 0)
    shown.root.focus_force()
    shown.until(lambda: shown.root.focus_displayof() is not None, "the focus")
    shown.show(replace(RUN, state="finished", processes=()))
    shown.farm.close()
    shown.draw()
    assert not shown.app.closed
    shown.root.iconify()
    shown.until(lambda: not shown.root.winfo_viewable(), "nothing on the screen")
    shown.draw(1.0)
    assert shown.app.closed
    shown.end()


@pytest.mark.parametrize("how", ["focus", "key"])
def test_a_window_that_somebody_looks_at_stays_when_the_script_ends(on_display, how):
    """The results of a long night are not snatched away from who reads them."""
    shown = ShownWindow(after="auto")
    on_display.do("mousemove", 0, 0)
    shown.draw(1000.0)
    shown.root.focus_force()
    shown.until(lambda: shown.root.focus_displayof() is not None, "the focus")
    if how == "key":
        shown.press("<Down>")
        other = ShownWindow()
        other.root.focus_force()
        shown.until(lambda: other.update() or shown.root.focus_displayof() is None, "the focus elsewhere")
        shown.draw(30.0)
        other.end()
    shown.show(replace(RUN, state="finished", processes=()))
    shown.farm.close()
    shown.draw()
    shown.draw(1.0)
    assert not shown.app.closed
    shown.draw(1000.0)
    assert not shown.app.closed
    shown.end()
