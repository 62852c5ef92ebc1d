"""Where figures go: checked before the work, written so that a viewer never sees half a file.

A figure is drawn in memory, written to a hidden file beside its place, and renamed. What a process that
was killed between the two has left is deleted by the next one.
"""

from __future__ import annotations

import os
import socket
import warnings

from farmhand import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ENDINGS", "checked", "clean", "save"]

#: What the name of a figure's file may end with.
ENDINGS = (".png", ".svg", ".pdf", ".eps", ".ps", ".svgz", ".jpg", ".jpeg", ".tif", ".tiff", ".webp")

_DPI = 150  # of figures made of pixels


def checked(path: str) -> str:
    """The absolute path of a figure's file, if one can be written there.

    Parameters
    ----------
    path : str
        As the user wrote it; ``~`` is the home folder.

    Raises
    ------
    UsageError
        Its ending is none that matplotlib writes, its folder is not there, or it is a folder itself.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending not in ENDINGS:
        what = f"nothing that ends with {ending!r}" if ending else "nothing without an ending"
        raise UsageError(f"{path!r} cannot be written: matplotlib writes {what}; use .png, .svg or .pdf")
    # through symbolic links, so that what they lead to is replaced, and not they
    whole = os.path.realpath(os.path.expanduser(path))
    folder = os.path.dirname(whole)
    if not os.path.isdir(folder):
        raise UsageError(f"{path!r} cannot be written: there is no folder {folder!r}; create it first")
    if os.path.isdir(whole):
        raise UsageError(f"{path!r} cannot be written: it is a folder; name a file in it")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path!r} cannot be written: the folder {folder!r} is read-only; choose another")
    return whole


def save(figure: Figure, path: str) -> None:
    """Write a figure, all of it or nothing.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : str
        As :func:`checked` returns it.

    Raises
    ------
    OSError
        It cannot be written; what was there before still is.
    """
    from io import BytesIO

    drawn = BytesIO()
    with warnings.catch_warnings():
        # a task may have a name in any script; a sign that is missing is seen
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        figure.savefig(drawn, format=os.path.splitext(path)[1][1:].lower(), dpi=_DPI)
    begin, end = _part(path)
    part = f"{begin}{os.getpid()}{end}"
    try:
        with open(part, "wb") as file:
            file.write(drawn.getbuffer())
        os.replace(part, path)
    except BaseException as error:
        try:
            os.unlink(part)
        except OSError:
            pass  # it was never there, or nothing can be done here
        if isinstance(error, OSError):
            error.filename, error.filename2 = path, None  # the hidden one means nothing to anybody
        raise


def clean(path: str) -> None:
    """Delete what processes of this computer that are gone have left of a figure."""
    begin, end = _part(path)
    folder, start = os.path.split(begin)
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        number = name.removeprefix(start).removesuffix(end)
        if name == f"{start}{number}{end}" and number.isdecimal() and not _lives(int(number)):
            try:
                os.unlink(os.path.join(folder, name))
            except OSError:
                pass  # somebody else was faster, or owns it


def _part(path: str) -> tuple[str, str]:
    """What is before and behind the number of the process in the name of its hidden file."""
    folder, name = os.path.split(path)
    host = socket.gethostname().replace("/", "_")
    return os.path.join(folder, f".{name}.{host}-"), ".part"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
