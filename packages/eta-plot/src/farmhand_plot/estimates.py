"""What the end was thought to be when, against what happened."""

from __future__ import annotations

from farmhand_plot.course import Course

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_estimates"]


def draw_estimates(axes: Axes, course: Course) -> None:
    """Draw the predicted end of the run over the moments at which it was predicted."""
    axes.plot(
        [at for at, estimate in course.estimates if estimate],
        [at + estimate.median for at, estimate in course.estimates if estimate],
    )
