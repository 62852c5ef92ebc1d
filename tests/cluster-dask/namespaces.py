"""Networks within this computer: each has addresses of its own, and one way to here.

It takes root, ``ip`` and a kernel that lets us; `Namespace.refused` says why not.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess

_COUNT = itertools.count()


class Namespace:
    """A network namespace, joined with ours by a pair of virtual interfaces.

    Attributes
    ----------
    here, there : str
        The addresses of the two ends.
    before : list of str
        What is put before a command that is to run in it.
    delayed : bool
        Whether the line itself delays: the kernel could do it.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        number = next(_COUNT)
        self.name = f"fh{os.getpid()}-{number}"
        # addresses that are for tests of networks alone, and nobody's (RFC 2544)
        network = f"198.18.{os.getpid() % 250}.{4 * number}"
        base = network.rpartition(".")[0]
        self.here, self.there = (f"{base}.{4 * number + end}" for end in (1, 2))
        self.before = ["ip", "netns", "exec", self.name]
        self.delayed = False
        ours, theirs = f"{self.name}a", f"{self.name}b"
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", self.name)
            _ip("addr", "add", f"{self.here}/30", "dev", ours)
            _ip("link", "set", ours, "up")
            _ip("-n", self.name, "addr", "add", f"{self.there}/30", "dev", theirs)
            _ip("-n", self.name, "link", "set", theirs, "up")
            _ip("-n", self.name, "link", "set", "lo", "up")
            if seconds:
                delay = ["root", "netem", "delay", f"{seconds * 1000:g}ms"]
                commands = [
                    ["tc", "qdisc", "add", "dev", ours, *delay],
                    [*self.before, "tc", "qdisc", "add", "dev", theirs, *delay],
                ]
                self.delayed = all(_run(command).returncode == 0 for command in commands)
        except BaseException:
            self.close()
            raise

    def cut(self) -> None:
        """Let nothing pass any more, in silence: as where a computer has vanished."""
        _ip("-n", self.name, "link", "set", f"{self.name}b", "down")

    def close(self) -> None:
        """Take it away, with its interfaces; what ran there must have ended."""
        _ip("netns", "del", self.name)

    @staticmethod
    def refused() -> str:
        """Why there can be none on this computer; ``''`` if there can."""
        if shutil.which("ip") is None:
            return "there is no command `ip`"
        if os.geteuid() != 0:
            return "only root makes network namespaces"
        try:
            Namespace().close()
        except OSError as error:
            return str(error)
        return ""


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


def _ip(*words: str) -> None:
    ran = _run(["ip", *words])
    if ran.returncode:
        raise OSError(f"ip {' '.join(words)}: {ran.stderr.strip()}")
