"""Items over time, and where that leads."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from farmhand.progress import OVER, Snapshot, TimeLeft
from farmhand_tk.window.looks import Looks
from farmhand_tk.window.plan import Plan, count_label, plan_of

__all__ = ["ChartPane"]

_EVERY = 0.5  # seconds of the run between two drawings


class ChartPane(ttk.Frame):
    """The chart.

    Parameters
    ----------
    parent : widget
        Where it is.
    looks : Looks
        Its looks.
    """

    def __init__(self, parent: tk.Misc, looks: Looks) -> None:
        super().__init__(parent)
        self._looks = looks
        self._plan: Plan | None = None
        self._shown: Snapshot | None = None
        self._left = TimeLeft()
        self._key: object = None
        self.canvas = tk.Canvas(self, highlightthickness=0, width=1, height=1)
        self.canvas.pack(fill="both", expand=True)
        self.canvas.bind("<Configure>", lambda event: self._draw())
        looks.listen(self._draw)

    def clear(self) -> None:
        """Begin anew."""
        self._plan = self._shown = self._key = None
        self._draw()

    def show(self, snapshot: Snapshot, left: TimeLeft) -> None:
        """Draw the run, if enough has changed; ``left`` says when it is over, in the words above."""
        elapsed = snapshot.elapsed if snapshot.elapsed == snapshot.elapsed else 0.0
        if abs(elapsed) < 1e12:
            elapsed = elapsed // min(5.0, max(_EVERY, elapsed / 240.0))
        key = (elapsed, snapshot.state, snapshot.total, snapshot.remaining is None, left)
        if key == self._key or not self.canvas.winfo_viewable():
            return
        self._key, self._shown, self._left = key, snapshot, left
        self._draw()

    def _draw(self) -> None:
        canvas, looks = self.canvas, self._looks
        px, p = looks.px, looks.palette
        canvas.delete("all")
        canvas.configure(background=p.surface)
        width, height = canvas.winfo_width(), canvas.winfo_height()
        snapshot = self._shown
        line_height = looks.small.metrics("linespace")
        if snapshot is None or width < px(120) or height < 4 * line_height:
            return
        top, bottom = line_height + px(14), height - line_height - px(10)
        rows = max(1, int((bottom - top) // (line_height * 2)))
        plan = plan_of(snapshot, self._plan, max(2, int(width // px(95))), min(5, rows))
        self._plan = plan
        small = looks.small
        labels = [label for _, label in plan.items.ticks] + [count_label(plan.goal or 0.0)]
        left = px(14) + max(map(small.measure, labels))
        right = width - px(18)
        if right - left < px(60) or bottom - top < line_height:
            return

        def x(seconds: float) -> float:
            return left + (right - left) * min(1.0, seconds / plan.times.end)

        def y(count: float) -> float:
            return bottom - (bottom - top) * min(1.0, count / plan.items.end)

        goal_at = y(plan.goal) if plan.goal is not None else -1e9
        for value, label in plan.items.ticks:
            if value != plan.goal and abs(y(value) - goal_at) < line_height:
                continue
            canvas.create_line(left, y(value), right, y(value), fill=p.trough)
            canvas.create_text(left - px(6), y(value), text=label, anchor="e", font=small, fill=p.quiet)
        for value, label in plan.times.ticks:
            canvas.create_line(x(value), bottom, x(value), bottom + px(4), fill=p.border)
            place = min(x(value), width - px(4) - small.measure(label) / 2)
            canvas.create_text(place, bottom + px(6), text=label, anchor="n", font=small, fill=p.quiet)
        canvas.create_line(left, bottom, right, bottom, fill=p.border)
        now, ended = plan.line[-1]
        title = "Items ended, over the time since the start"
        if plan.goal is not None:
            canvas.create_line(left, goal_at, right, goal_at, fill=p.quiet, dash=(2, 4))
            canvas.create_text(
                left - px(6), goal_at, text=count_label(plan.goal), anchor="e", font=small, fill=p.quiet
            )
        if plan.ends is not None:
            low, middle, high = plan.ends
            goal = plan.reach
            canvas.create_polygon(
                x(now), y(ended), x(low), y(goal), x(high), y(goal), fill=p.band, outline=""
            )
            canvas.create_line(
                x(now), y(ended), x(middle), y(goal), fill=p.accent, dash=(5, 4), width=px(1.5)
            )
        points = [(x(at), y(count)) for at, count in plan.line]
        if len(points) == 1:
            points.insert(0, (x(0.0), y(0.0)))
        canvas.create_line(points, fill=p.accent, width=px(2), joinstyle="round")
        size = px(3.5)
        canvas.create_oval(
            *(x(now) - size, y(ended) - size, x(now) + size, y(ended) + size),
            fill=p.accent,
            outline=p.surface,
            width=px(1),
        )
        said = canvas.create_text(left, px(6), text=title, anchor="nw", font=small, fill=p.quiet)
        if plan.ends is not None:
            at = plan.ends[2 if self._left.latest else 1]
            self._label_end(x(at), canvas.bbox(said)[2] + px(12), width - px(8))
        if not ended and snapshot.state not in OVER and now > 3.0 and plan.ends is None:
            canvas.create_text(
                (left + right) / 2, (top + bottom) / 2, text="No item has ended yet", font=small, fill=p.quiet
            )

    def _label_end(self, at: float, least: float, most: float) -> None:
        """The time of day at which the run is probably over, above the place where the line gets there."""
        text = f"end {self._left.end}"
        half = self._looks.small.measure(text) / 2
        if not self._left.end or least + 2 * half > most:
            return
        at = min(max(at, least + half), most - half)
        self.canvas.create_text(
            at,
            self._looks.px(6),
            text=text,
            anchor="n",
            font=self._looks.small,
            fill=self._looks.palette.text,
        )
