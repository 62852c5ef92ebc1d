"""Some lines at the end of a terminal that are drawn anew in place; what is printed goes above them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.control import Control
from rich.segment import ControlType, Segment

__all__ = ["Line", "Region"]

#: A line, without its end.
Line: TypeAlias = list[Segment]


def _raw(code: str) -> Segment:
    return Segment(code, None, [(ControlType.CARRIAGE_RETURN,)])


_NEWLINE = Segment("\n")
_BELOW = _raw("\x1b[J")  # erases all from the cursor on


class _Drawing:
    """What is printed as it is."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = segments

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._segments


class Region(RenderHook):
    """The lines, which leave the last column of the terminal free.

    Parameters
    ----------
    console : rich.console.Console
        Draws. What others print with it goes above the lines as well.
    reflows : bool
        Whether this terminal breaks lines anew when it becomes narrower.
    """

    def __init__(self, console: Console, reflows: bool) -> None:
        self._console = console
        self._reflows = reflows
        self._columns = 0
        self._lines: Sequence[Line] = ()
        self._drawn: list[int] = []  # the lengths of the lines that stand there
        console.push_render_hook(self)

    def draw(self, above: Sequence[Line], lines: Sequence[Line], columns: int) -> None:
        """Print some lines for good, and below them ``lines`` in place of those that stood there."""
        if not above and lines == self._lines and columns == self._columns:
            return
        top = self._top(columns, erase=bool(above) or columns != self._columns)
        self._print([*top, *_whole(above), *self._bottom(lines, columns)])

    def write_above(self, text: str) -> None:
        """Print whole lines as they are."""
        columns = self._columns
        self._print([*self._top(columns), Segment(text), *self._bottom(self._lines, columns)])

    def forget(self) -> None:
        """Whatever stands there, the next lines are drawn below it."""
        self._drawn, self._lines = [], ()

    def close(self, last: Sequence[Line]) -> None:
        """Put lines in the place of the others for good, which ends this region."""
        self._console.pop_render_hook()
        self._print([*self._top(self._columns), *_whole(last)])

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """What others print goes above the lines."""
        if any(isinstance(each, _Drawing) for each in renderables):
            return renderables
        columns = self._columns
        top, bottom = self._top(columns), self._bottom(self._lines, columns)
        return [_Drawing(top), *renderables, _Drawing(bottom)]

    def _print(self, segments: Iterable[Segment]) -> None:
        self._console.print(_Drawing(segments), end="", crop=False)

    def _top(self, columns: int, erase: bool = True) -> list[Segment]:
        """To the beginning of the lines that stand there, which are erased if they are not drawn over."""
        rows = len(self._drawn)
        if not rows:
            return []
        if columns < self._columns and self._reflows:
            rows = sum(max(1, -(-length // columns)) for length in self._drawn)
        back = Control(ControlType.CARRIAGE_RETURN).segment
        if not erase:
            return [back] if rows < 2 else [back, Control((ControlType.CURSOR_UP, rows - 1)).segment]
        # Line by line: who erases all at once from the first cell of the screen is taken by tmux to
        # clear it, and finds what stood there in the history.
        erased = Control((ControlType.ERASE_IN_LINE, 2)).segment
        up = Control((ControlType.CURSOR_UP, 1)).segment
        return [back, erased, *([up, erased] * (rows - 1))]

    def _bottom(self, lines: Sequence[Line], columns: int) -> Iterator[Segment]:
        self._lines, self._columns = lines, columns
        self._drawn = [Segment.get_line_length(line) for line in lines]
        # A terminal may take a character to be wider than we do; then the end of the line is
        # missing, where else the whole display would be one line too long.
        if not lines:
            return
        yield _raw("\x1b[?25l\x1b[?7l")
        for place, line in enumerate(lines):
            if place:
                yield _NEWLINE
            yield from line
            yield _raw("\x1b[K")
        yield _BELOW
        yield _raw("\x1b[?7h")


def _whole(lines: Iterable[Line]) -> Iterator[Segment]:
    """Lines that stay; they may be longer than the terminal is wide."""
    for line in lines:
        yield from line
        yield _NEWLINE
