"""What goes to the terminal: tables for people, JSON for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice

from farmhand.values import dataclass
from farmhand.wording import cells, cut, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

__all__ = ["Column", "Output", "indented", "plural"]

_MEASURED = 500  # rows by which the width of columns is chosen; those after them are printed as they come
_LEAST = 12  # cells to which a column that may be cut is cut at most
_RED, _GREEN, _YELLOW, _BOLD = "31", "32", "33", "1"
_STYLES = {
    "failed": _RED,
    "broken": _RED,
    "killed": _RED,
    "running": _GREEN,
    "stopped": _YELLOW,
    "unknown": _YELLOW,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    title : str
        What is above it.
    right : bool
        Numbers stand on the right.
    flexible : bool
        It is cut when the terminal is too narrow.
    """

    title: str
    right: bool = False
    flexible: bool = False


class Output:
    """Standard output.

    Parameters
    ----------
    stream : file, optional
        ``sys.stdout`` by default.

    Attributes
    ----------
    stream : file
        For what is neither.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self._width: int | None = None
        self._colour = False
        self._encode: Callable[[Any], str] | None = None
        try:
            if self.stream.isatty():
                import shutil

                self._width = shutil.get_terminal_size().columns
                self._colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        except (AttributeError, OSError, ValueError):
            pass

    def line(self, text: str = "") -> None:
        """One line of text, or several."""
        self.stream.write(f"{_encodable(self.stream, text)}\n")

    def paragraph(self, text: str) -> None:
        """A sentence, on as many lines as it needs where the terminal is narrow."""
        if self._width is not None and cells(text) > self._width:
            import textwrap

            text = textwrap.fill(text, self._width, subsequent_indent="  ", break_on_hyphens=False)
        self.line(text)

    def json(self, value: Any) -> None:
        """One value as one line of JSON."""
        if self._encode is None:
            import json

            self._encode = json.JSONEncoder(default=str).encode
        self.stream.write(f"{self._encode(value)}\n")

    def flush(self) -> None:
        """See now whether anybody reads it."""
        self.stream.flush()

    def title(self, text: str) -> None:
        """A line that stands above others."""
        self.line(self._paint(_BOLD, text))

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> int:
        """Aligned columns; returns how many rows there were. Nothing is printed of no rows."""
        found = iter(rows)
        first = [list(map(printable, row)) for row in islice(found, _MEASURED)]
        if not first:
            return 0
        widths = self._widths(columns, first)
        titles = [column.title for column in columns]
        self._row(columns, widths, titles, _BOLD)
        count = 0
        for row in chain(first, (list(map(printable, row)) for row in found)):
            self._row(columns, widths, row)
            count += 1
        return count

    def _widths(self, columns: Sequence[Column], rows: list[list[str]]) -> list[int]:
        widths = [
            max(cells(column.title), *(cells(row[place]) for row in rows))
            for place, column in enumerate(columns)
        ]
        if self._width is not None:
            over = sum(widths) + 2 * (len(widths) - 1) - self._width
            flexible = [place for place, column in enumerate(columns) if column.flexible]
            while over > 0 and any(widths[place] > _LEAST for place in flexible):
                widest = max(flexible, key=widths.__getitem__)
                others = [widths[place] for place in flexible if place != widest]
                less = min(over, max(1, widths[widest] - max([_LEAST, *others])))
                widths[widest] -= less
                over -= less
        return widths

    def _row(self, columns: Sequence[Column], widths: list[int], row: Sequence[str], style: str = "") -> None:
        parts = []
        for column, width, text in zip(columns, widths, row, strict=True):
            if column.flexible and self._width is not None and cells(text) > width:
                text = cut(text, width - 3) + "..."
            space = " " * (width - cells(text))
            painted = self._paint(style or _STYLES.get(text, ""), text)
            parts.append(space + painted if column.right else painted + space)
        self.line("  ".join(parts).rstrip())

    def _paint(self, style: str, text: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour and style and text else text


def indented(text: str, by: str = "    ") -> str:
    """Lines of somebody else's text, so that they can be told from ours and do nothing to the terminal."""
    return "\n".join(by + printable(line, 10_000) for line in text.splitlines())


def plural(count: int, noun: str, ending: str = "s") -> str:
    """``'1 run'``, ``'1,200 results'``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{ending}"


def _encodable(stream: TextIO, text: str) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding)
