"""Whole figures: of a store (:func:`plot`), and of a run that goes on (:func:`course_figure`)."""

from __future__ import annotations

from matplotlib.figure import Figure

from farmhand_plot.completions import draw_completions
from farmhand_plot.course import Course
from farmhand_plot.estimates import draw_estimates

__all__ = ["course_figure"]


def course_figure(course: Course, *, size: tuple[float, float] | None = None) -> Figure:
    """Draw items over time, and below it the history of the estimate.

    Parameters
    ----------
    course : Course
        The run.
    size : (float, float), optional
        Width and height in inches.

    Returns
    -------
    Figure
        To be saved with ``figure.savefig(path)``.
    """
    figure = Figure(figsize=size or (7.0, 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    draw_completions(above, course)
    draw_estimates(below, course)
    return figure
