"""Colours, fonts and sizes of the window, in light and dark; what the desktop prefers."""

from __future__ import annotations

import os
import sys
import tkinter as tk
from collections.abc import Callable
from tkinter import font as tkfont
from tkinter import ttk

from farmhand.values import dataclass

__all__ = ["THEMES", "Looks", "Palette", "chosen_theme", "desktop_is_dark", "icon", "prepare"]

THEMES = ("auto", "light", "dark")


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one theme.

    Those that mean something are told apart by people who do not see all colours, and are never
    all that says it.
    """

    dark: bool
    window: str
    surface: str  # of lists and texts
    text: str
    quiet: str  # text that matters less
    border: str
    trough: str
    button: str
    over: str  # a button under the pointer
    pressed: str
    disabled: str
    accent: str  # done, focus, selection
    accent_text: str
    running: str  # what the running items have done
    skipped: str
    band: str
    good: str
    wait: str
    bad: str


LIGHT = Palette(
    dark=False,
    window="#f4f5f7",
    surface="#ffffff",
    text="#1c2530",
    quiet="#566273",
    border="#cdd3db",
    trough="#e1e5ea",
    button="#ffffff",
    over="#eaf1f8",
    pressed="#d5e3f0",
    disabled="#98a2af",
    accent="#0b67b2",
    accent_text="#ffffff",
    running="#74b0e0",
    skipped="#a9bacb",
    band="#d3e5f5",
    good="#00775a",
    wait="#8a5a00",
    bad="#c04000",
)
DARK = Palette(
    dark=True,
    window="#1d2126",
    surface="#262b32",
    text="#e7ebf0",
    quiet="#a5b0be",
    border="#3d4550",
    trough="#363d47",
    button="#2c323a",
    over="#36404c",
    pressed="#414e5d",
    disabled="#6d7886",
    accent="#4ea6e6",
    accent_text="#0d1a26",
    running="#3d83b8",
    skipped="#566575",
    band="#2b4256",
    good="#3fc79a",
    wait="#e9ad3c",
    bad="#ff8a50",
)


def prepare() -> tk.Tk:
    """The window, not shown yet, and as large as its screen's pixels ask for.

    Raises
    ------
    TclError
        There is no display, or it cannot be reached.
    """
    if sys.platform == "win32":
        import ctypes

        try:  # else Windows magnifies the window, and blurs it
            ctypes.windll.shcore.SetProcessDpiAwareness(1)
        except (AttributeError, OSError):
            pass
    root = tk.Tk(className="Farmhand")
    root.withdraw()
    if root.tk.call("info", "commands", "send"):
        root.tk.call("rename", "send", "")  # nobody else on this display has anything to say here
    wish = os.environ.get("FARMHAND_SCALE", "")
    for text, size in ((wish, 96.0), ("" if wish else _dots(root), 1.0)):
        try:
            scale = float(text) * size / 72.0
        except ValueError:
            continue
        if 0.5 <= scale <= 20.0:
            root.tk.call("tk", "scaling", scale)
            break
    return root


def _dots(root: tk.Tk) -> str:
    """The dots of an inch that an X desktop is set to, whatever the screen says; ``''`` for none."""
    if root.tk.call("tk", "windowingsystem") != "x11":
        return ""
    # such a wish is found by the name of the library that it is for
    library = tk.Tk(className="Xft")
    dots = str(library.tk.call("option", "get", ".", "dpi", "Dpi"))
    library.destroy()
    return dots


def chosen_theme() -> str:
    """What ``FARMHAND_THEME`` says: one of ``THEMES``."""
    word = os.environ.get("FARMHAND_THEME", "").strip().lower()
    return word if word in THEMES else "auto"


def desktop_is_dark(system: str = sys.platform) -> bool:
    """Whether the desktop prefers dark windows; it may take a second or two to find out."""
    if system == "win32":
        return _registry_is_dark()
    if system == "darwin":
        return "dark" in _output("defaults", "read", "-g", "AppleInterfaceStyle").lower()
    portal = _output(
        *("gdbus", "call", "--session", "--dest", "org.freedesktop.portal.Desktop"),
        *("--object-path", "/org/freedesktop/portal/desktop", "--timeout", "1"),
        *("--method", "org.freedesktop.portal.Settings.Read"),
        *("org.freedesktop.appearance", "color-scheme"),
    )
    if "uint32" in portal:
        return "uint32 1" in portal
    schema = "org.gnome.desktop.interface"
    if "dark" in _output("gsettings", "get", schema, "color-scheme"):
        return True
    return "dark" in _output("gsettings", "get", schema, "gtk-theme").lower()


def _output(*command: str) -> str:
    import subprocess

    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=2
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _registry_is_dark() -> bool:
    place = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
    return "0x0" in _output("reg", "query", place, "/v", "AppsUseLightTheme")


class Looks:
    """How everything in the window looks.

    Parameters
    ----------
    root : Tk
        The window.

    Attributes
    ----------
    palette : Palette
        The colours now.
    """

    def __init__(self, root: tk.Tk) -> None:
        self._root = root
        self._system: str = root.tk.call("tk", "windowingsystem")
        self._scale = float(root.tk.call("tk", "scaling")) * 0.75  # 1.0 where an inch has 96 dots
        self._style = ttk.Style(root)
        self._native = self._style.theme_use()
        self._listeners: list[Callable[[], None]] = []
        self.palette = LIGHT
        self._make_fonts()

    def px(self, pixels: float) -> int:
        """So many pixels of an ordinary screen, on this one."""
        return max(1, round(pixels * self._scale))

    def listen(self, changed: Callable[[], None]) -> None:
        """Have a function called each time that the theme has changed, and now."""
        self._listeners.append(changed)
        changed()

    def use(self, dark: bool) -> None:
        """Show everything light or dark."""
        self.palette = DARK if dark else LIGHT
        # the systems' own themes know no colours of ours; Windows' knows no dark, either
        plain = self._system == "x11" or (dark and self._system == "win32")
        self._style.theme_use("clam" if plain else self._native)
        if plain:
            self._colour()
        self._measure()
        self._root.configure(background=self.palette.window)
        for changed in self._listeners:
            changed()

    def _make_fonts(self) -> None:
        """Fonts in points, so that they grow with the screen; made anew, since the scale may be new."""
        self.font = tkfont.nametofont("TkDefaultFont", self._root)
        self.fixed = tkfont.nametofont("TkFixedFont", self._root)
        if self._system == "x11":
            for name in tkfont.names(self._root):
                tkfont.nametofont(name, self._root).configure(size=10)
        size = int(self.font.cget("size"))
        step = 1 if size > 0 else -1  # Windows has sizes in pixels, which are negative
        family = self.font.cget("family")
        self.small = tkfont.Font(self._root, family=family, size=size - step, name="FarmhandSmall")
        self.bold = tkfont.Font(self._root, family=family, size=size, weight="bold", name="FarmhandBold")
        self.large = tkfont.Font(
            self._root, family=family, size=size + 5 * step, weight="bold", name="FarmhandLarge"
        )
        self.value = tkfont.Font(self._root, family=family, size=size + step, name="FarmhandValue")

    def _measure(self) -> None:
        """Sizes, and the kinds of text, which all themes share."""
        style, px, p = self._style, self.px, self.palette
        style.configure("Treeview", rowheight=self.font.metrics("linespace") + px(6))
        style.configure("Large.TLabel", font=self.large)
        style.configure("Value.TLabel", font=self.value)
        style.configure("Bold.TLabel", font=self.bold)
        style.configure("Quiet.TLabel", foreground=p.quiet)
        style.configure("Small.TLabel", foreground=p.quiet, font=self.small)
        for tone in ("good", "wait", "bad"):
            style.configure(f"{tone.title()}.TLabel", foreground=getattr(p, tone), font=self.bold)
        style.configure("Busy.TLabel", foreground=p.accent, font=self.bold)
        style.configure("Link.TButton", padding=(px(4), px(1)), width=0)

    def _colour(self) -> None:
        """Clam, flat and in our colours."""
        style, px, p = self._style, self.px, self.palette
        edge = {"bordercolor": p.border, "lightcolor": p.window, "darkcolor": p.window}
        style.configure(
            ".",
            background=p.window,
            foreground=p.text,
            troughcolor=p.trough,
            fieldbackground=p.surface,
            selectbackground=p.accent,
            selectforeground=p.accent_text,
            insertcolor=p.text,
            focuscolor=p.accent,
            font=self.font,
            **edge,
        )
        style.map(".", foreground=[("disabled", p.disabled)])
        style.configure(
            "TButton",
            background=p.button,
            lightcolor=p.button,
            darkcolor=p.button,
            padding=(px(10), px(4)),
            focusthickness=px(1),
            focussolid=True,
            anchor="center",
        )
        faces = [("disabled", p.window), ("pressed", p.pressed), ("active", p.over)]
        style.map(
            "TButton",
            bordercolor=[("focus", p.accent)],
            foreground=[("disabled", p.disabled)],
            background=faces,
            lightcolor=faces,
            darkcolor=faces,
        )
        style.configure("Danger.TButton", foreground=p.bad)
        style.map("Danger.TButton", foreground=[("disabled", p.disabled)])
        style.configure(
            "Link.TButton", background=p.window, bordercolor=p.window, lightcolor=p.window, darkcolor=p.window
        )
        style.map("Link.TButton", foreground=[("disabled", p.quiet), ("!disabled", p.bad)])
        style.configure(
            "TMenubutton",
            width=5,
            arrowsize=px(5),
            background=p.window,
            padding=(px(8), px(3)),
            arrowcolor=p.quiet,
            **edge,
        )
        style.map(
            "TMenubutton",
            background=faces,
            bordercolor=[("focus", p.accent)],
            lightcolor=faces,
            darkcolor=faces,
        )
        style.configure(
            "TSpinbox",
            padding=(px(6), px(3)),
            arrowcolor=p.text,
            arrowsize=px(11),
            background=p.button,
            lightcolor=p.surface,
            darkcolor=p.surface,
        )
        style.map(
            "TSpinbox",
            bordercolor=[("focus", p.accent)],
            lightcolor=[("focus", p.surface)],
            fieldbackground=[("disabled", p.window)],
            selectbackground=[("!focus", p.surface)],
            selectforeground=[("!focus", p.text)],
            foreground=[("disabled", p.disabled)],
            arrowcolor=[("disabled", p.disabled)],
            background=[("disabled", p.window), ("active", p.over)],
        )
        style.configure("TNotebook", borderwidth=0, tabmargins=(0, px(2), 0, 0), **edge)
        style.configure(
            "TNotebook.Tab",
            padding=(px(12), px(4)),
            background=p.window,
            foreground=p.quiet,
            bordercolor=p.border,
            lightcolor=p.window,
            darkcolor=p.window,
            focusthickness=px(1),
            focussolid=True,
        )
        style.map(
            "TNotebook.Tab",
            background=[("selected", p.surface), ("active", p.over)],
            lightcolor=[("selected", p.surface), ("active", p.over)],
            foreground=[("selected", p.text)],
            padding=[("selected", (px(12), px(4)))],
            expand=[("selected", (0, 0, 0, 0))],
        )
        style.configure(
            "Treeview",
            background=p.surface,
            fieldbackground=p.surface,
            foreground=p.text,
            borderwidth=0,
            **edge,
        )
        style.map("Treeview", background=[("selected", p.accent)], foreground=[("selected", p.accent_text)])
        style.configure(
            "Treeview.Heading",
            background=p.window,
            foreground=p.quiet,
            lightcolor=p.window,
            darkcolor=p.window,
            bordercolor=p.border,
            relief="flat",
            padding=(px(6), px(3)),
            font=self.small,
        )
        style.map("Treeview.Heading", background=[("active", p.over)])
        style.configure(
            "TScrollbar",
            background=p.border,
            troughcolor=p.window,
            bordercolor=p.window,
            lightcolor=p.border,
            darkcolor=p.border,
            arrowcolor=p.quiet,
            arrowsize=px(11),
            gripcount=0,
            relief="flat",
        )
        style.map(
            "TScrollbar",
            background=[("disabled", p.window), ("active", p.quiet)],
            lightcolor=[("disabled", p.window), ("active", p.quiet)],
            darkcolor=[("disabled", p.window), ("active", p.quiet)],
        )
        # a bar alone: whoever has a wheel and keys needs no arrows
        thumb = "Vertical.Scrollbar.thumb -expand 1 -sticky nswe"
        trough = f"Vertical.Scrollbar.trough -sticky ns -children {{{thumb}}}"
        self._root.tk.call("ttk::style", "layout", "Vertical.TScrollbar", trough)
        style.configure("Sash", sashthickness=px(7), gripcount=0, background=p.window)
        style.configure("TPanedwindow", background=p.window)
        style.configure(
            "Card.TFrame", background=p.surface, bordercolor=p.border, borderwidth=1, relief="solid"
        )
        style.configure(
            "Note.TFrame", background=p.surface, bordercolor=p.wait, borderwidth=1, relief="solid"
        )
        style.configure("Surface.TFrame", background=p.surface)
        style.configure("Note.TLabel", background=p.surface)
        style.configure("Notehead.TLabel", background=p.surface, font=self.bold)

    def menu(self, menu: tk.Menu) -> None:
        """Colour a menu, which is no ttk widget."""
        if self._system == "x11":
            p = self.palette
            menu.configure(
                background=p.surface,
                foreground=p.text,
                activebackground=p.accent,
                activeforeground=p.accent_text,
                selectcolor=p.text,
                disabledforeground=p.disabled,
                activeborderwidth=0,
                borderwidth=1,
                relief="solid",
                font=self.font,
            )


def icon(root: tk.Tk, size: int = 64) -> tk.PhotoImage:
    """The window's picture in a task bar: three bars on their way, drawn here."""
    image = tk.PhotoImage(master=root, width=size, height=size)
    unit = size // 16
    image.put(LIGHT.accent, to=(unit, unit, size - unit, size - unit))
    for row, length in enumerate((11, 6, 9)):
        top = (3 + row * 4) * unit
        image.put(LIGHT.running, to=(3 * unit, top, 13 * unit, top + 2 * unit))
        image.put("#ffffff", to=(3 * unit, top, (2 + length) * unit, top + 2 * unit))
    return image
