"""Items over time, with the band in which the rest will end."""

from __future__ import annotations

from farmhand_plot.course import Course

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_completions"]


def draw_completions(axes: Axes, course: Course) -> None:
    """Draw how many items had ended when, where that leads, and what is aimed at."""
    axes.plot(course.times, course.ended)
