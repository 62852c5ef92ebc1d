"""X servers without a screen, for tests and pictures of the window."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psutil
from PIL import Image, ImageGrab

from waiting import wait_until

# No frames, so that a window is where it says; no keys of its own, so that each is for the window.
MANAGER = """<?xml version="1.0"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <applications><application class="*"><decor>no</decor></application></applications>
</openbox_config>
"""
NEEDED = ("Xvfb", "xdotool", "openbox")


def missing() -> list[str]:
    """The programs that are needed and not installed."""
    return [name for name in NEEDED if shutil.which(name) is None]


def area(image: Image.Image, colour: str) -> int:
    """How many pixels have a colour."""
    wanted = tuple(bytes.fromhex(colour.removeprefix("#")))
    return sum(count for count, found in image.getcolors(1 << 24) or () if found == wanted)


class VirtualDisplay:
    """An X server with a window manager, on a display number that nobody else uses.

    Parameters
    ----------
    folder : Path
        Where its programs may write.
    size : str
        Width and height of its screen, and the bits of a pixel.
    dpi : int
        Pixels of an inch.

    Attributes
    ----------
    name : str
        For ``DISPLAY``.
    environment : dict
        That of this process, with the display, for programs that are to be shown there.
    """

    def __init__(self, folder: Path, size: str = "1280x1000x24", dpi: int = 96) -> None:
        reads, writes = os.pipe()
        try:
            # -noreset: it does not begin anew each time that the last program has left it
            options = ["-screen", "0", size, "-dpi", str(dpi), "-nolisten", "tcp", "-noreset"]
            self._server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writes), *options],
                pass_fds=[writes],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(writes)
        with open(reads) as told:
            number = told.readline().strip()
        if not number:
            raise RuntimeError(f"Xvfb did not start: exit status {self._server.wait()}")
        self.name = f":{number}"
        own = {"DISPLAY": self.name, "XDG_CACHE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.environment = {
            key: value for key, value in os.environ.items() if key not in ("XAUTHORITY", "WAYLAND_DISPLAY")
        } | own
        settings = folder / "openbox.xml"
        settings.write_text(MANAGER)
        # without a window manager no window gets the keyboard, and none can be asked to close
        self._manager = subprocess.Popen(
            ["openbox", "--sm-disable", "--config-file", settings],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: self.do("get_num_desktops").returncode == 0, "the window manager")
        self.do("mousemove", 0, 0)  # else it points to a window, as if somebody looked at that

    def do(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Let xdotool do something."""
        return subprocess.run(
            ["xdotool", *map(str, words)], env=self.environment, capture_output=True, text=True
        )

    def window(self, title: str) -> str | None:
        """The number of the window whose title matches a regular expression, if there is one."""
        found = self.do("search", "--onlyvisible", "--name", title).stdout.split()
        return found[-1] if found else None

    def wait_for_window(self, title: str) -> str:
        """The number of that window, as soon as there is one."""
        wait_until(lambda: self.window(title), f"a window called {title}")
        return self.window(title) or self.wait_for_window(title)

    def processes(self) -> list[psutil.Process]:
        """The processes of farmhand's windows on this display that live, whoever has started them."""
        found = []
        for process in psutil.process_iter():
            try:
                if any("farmhand_tk" in word for word in process.cmdline()) and (
                    process.environ().get("DISPLAY") == self.name and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                pass  # it has just ended, or is another user's
        return found

    def place(self, window: str) -> tuple[int, int, int, int]:
        """Where a window is: left, top, width and height."""
        told = self.do("getwindowgeometry", "--shell", window).stdout
        place = dict(line.split("=") for line in told.split())
        return int(place["X"]), int(place["Y"]), int(place["WIDTH"]), int(place["HEIGHT"])

    def picture(self, window: str) -> Image.Image:
        """What a window looks like."""
        left, top, width, height = self.place(window)
        bbox = (left, top, left + width, top + height)
        return ImageGrab.grab(bbox, xdisplay=self.name).convert("RGB")

    def press(self, window: str, *keys: str) -> None:
        """Press keys, as ``ctrl+w``, in a window."""
        self.do("windowactivate", "--sync", window)
        self.do("key", *keys)

    def kill(self) -> None:
        """End it as a crash would; whoever is shown there loses it in the middle of whatever he does."""
        # What it would have taken away itself, as long as it is certainly its own: another server may
        # have the same number as soon as it has ended.
        number = self.name.removeprefix(":")
        for path in (f"/tmp/.X{number}-lock", f"/tmp/.X11-unix/X{number}"):
            Path(path).unlink(missing_ok=True)
        self._server.kill()
        self._server.wait()
        self._end(self._manager)

    def close(self) -> None:
        """End it in order; again is fine, and after :meth:`kill`."""
        self._end(self._manager)
        self._end(self._server)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
