"""What runs in each process: takes items, runs the task, sends back encoded results.

The task has the main thread. A reader thread takes what the farm sends, so that items which have
not begun can be recalled while the task runs, and so that the end of the farm is noticed: when
its end of the socket closes, for whatever reason, this process ends with all that it started.

A task may do anything to its process. The clock and the codec are bound when this module is
imported, before a task could patch them, and a descriptor is looked at before it is written to: the
task may have closed it, and have its own file under that number now.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import fcntl
import os
import sys
import threading
from array import array
from collections import deque
from operator import sub
from time import monotonic, sleep, time

from farmhand import codec, seeds, shipping, simulators
from farmhand.cython_cache import guard_cython_cache
from farmhand.local import frames
from farmhand.local.output import Output
from farmhand.local.page import LEEWAY, FileIdentity, Page
from farmhand.spool import Spool
from farmhand.stdlib import signal, socket
from farmhand.task import MadeTask, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

__all__ = ["Worker", "main"]

HANDOVER = 0.3  # seconds in which the task's thread may take notice of the end by itself
LARGE = 64 * 1024  # bytes; a larger result is sent at once
PATIENCE = 0.005  # seconds more after which the helper thread sends what the task's thread has not
QUIET = 500  # items that have printed nothing, after which not every tiny one is asked whether it did

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(sock: int, page: int, lifeline: int, output: int, keep: int, number: int) -> NoReturn:
    """The start of a fresh process, which was handed some descriptors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("sys", "main"):  # what the command line needed; __main__ is for the script's names
        vars(sys.modules["__main__"]).pop(name, None)
    for descriptor in (sock, lifeline, output):  # a program that the task starts, or becomes, gets none
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    shared = Page(page)
    printed = None
    if output >= 0:
        printed = Output(shared, keep, output)
        printed.redirect()
    Worker(socket.socket(fileno=sock), shared, lifeline, printed, number).run()


class Worker:
    """One process of the farm, seen from within.

    Parameters
    ----------
    sock : socket
        The channel to the farm.
    page : Page
        Where the running item is written down.
    lifeline : int
        The end of a pipe: when its other end is closed, the farm is gone.
    output : Output or None
        What this process prints, where that is captured.
    number : int
        The number of this process.
    task : Task, optional
        The task itself, in a forked process; a fresh one is sent it.
    """

    def __init__(
        self,
        sock: socket.socket,
        page: Page,
        lifeline: int,
        output: Output | None,
        number: int,
        task: Task | None = None,
    ) -> None:
        self._sock = sock
        self._channel = FileIdentity(sock.fileno())
        self._page = page
        self._output = output
        self._printed = _nothing
        self._silent = QUIET  # items in a row that have printed nothing
        if output is not None:
            self._printed = output.watch(self._has_printed)
            self._silent = 0
        self._memory = PeakMemory()
        self._lifeline = lifeline
        _hold_on(lifeline)
        # A batch system sends this to all processes of a job. It is the farm that stops then; what a
        # task starts has the default again, unlike with a signal that is ignored.
        signal.signal(signal.SIGTERM, _wait_for_the_farm)
        # what a task forks must not speak to the farm, and ends if it ever comes back to this code
        os.register_at_fork(after_in_child=self._be_nobody)
        self._number = number
        self._task = task
        self._spool: Spool | None = None
        self._send_lock = threading.Lock()
        # what the farm sent, in order, and a count of it; RECALL takes from the right end
        self._inbox: deque[tuple[int, Any]] = deque()
        self._inbox_lock = threading.Lock()
        self._arrived = threading.Semaphore(0)
        self._queue: deque[tuple[int, Any]] = deque()  # items of the block being run
        self._exiting = threading.Event()  # the task's thread is leaving
        # Results that wait to be sent. The task's thread appends to these lists, the index last,
        # and whoever sends takes as many from the front as there are indices: no lock for each item.
        self._results: list[Any] = []  # for codec.pack
        self._began = 0.0  # when the first of them did
        self._ended: list[float] = []
        self._indices: list[int] = []
        self._usage: dict[int, tuple[int | None, str]] = {}  # by item, before its index is appended
        self._seconds_to_gather = 0.0  # for which results wait: sending each would take a part of a CPU
        self._flush_at = 0.0
        self._look_at = 0.0  # an item that ends later is looked at; never later than the next flush
        self._helper_wanted = threading.Semaphore(0)
        self._helper_awake = False

    def run(self) -> NoReturn:
        """Serve the farm until it says to leave or is gone; never returns."""
        code = 1
        try:
            with contextlib.suppress(Exception):  # no descriptor 2, say
                faulthandler.enable(2, all_threads=False)  # the last words of a crash: where in Python it was
            os.environ.pop(seeds.VARIABLE, None)  # of an item that runs this farm
            for target in (self._read, self._help):
                threading.Thread(target=target, name=f"farmhand {target.__name__}", daemon=True).start()
            guard_cython_cache()
            self._serve()
            code = 0
        finally:
            # Not sys.exit: threads that a task left behind must not keep this process, and the
            # forked copy of a script must not run on behind the farm's back.
            with contextlib.suppress(BaseException):
                atexit._run_exitfuncs()
            if code == 0:
                self._part()
            leave(code)

    # -- the task's thread -----------------------------------------------------------------------

    def _serve(self) -> None:
        made: MadeTask | None = None
        while True:
            kind, fields = self._next()
            if kind == frames.ITEMS:
                assert made is not None
                self._run_block(made, *fields)
            elif kind == frames.SETUP:
                made = self._set_up(*fields)
                if made is None:
                    return
            elif kind == frames.DEFINE:
                try:
                    shipping.receive(fields[0])
                except BaseException as error:
                    self._send(frames.SETUP_FAILED, *describe(error))
                    return
            else:
                self._exiting.set()
                return

    def _next(self) -> tuple[int, Any]:
        while True:
            self._page.index[0] = -1
            self._flush()
            self._arrived.acquire()
            with self._inbox_lock:
                if self._inbox:  # else it was recalled
                    return self._inbox.popleft()

    def _set_up(
        self,
        path: list[str] | None,
        argv: list[str] | None,
        shipped: bytes | None,
        spool: tuple[str, int, bool] | None,
        gather: float,
    ) -> MadeTask | None:
        self._seconds_to_gather = gather
        try:
            if spool is not None:
                self._spool = Spool(*spool)
            if path is not None and argv is not None:
                sys.path[:] = path
                sys.argv[:] = argv
            task: Any = shipping.receive(shipped) if shipped is not None else self._task
            made: MadeTask = task.make(self._number, self._report)
        except BaseException as error:
            self._send(frames.SETUP_FAILED, *describe(error))
            return None
        self._send(frames.READY)
        return made

    def _run_block(
        self, made: MadeTask, span: tuple[int, int] | list[int], payload: bytes, wanted: list[int] | None
    ) -> None:
        indices = frames.indices(span)
        page = self._page
        clock = monotonic
        page.since[1] = clock()
        page.index[0] = indices[0] if wanted is None else wanted[0]  # decoding may end this process, too
        indices, items = self._decode(indices, payload, wanted)
        run, plain_run = made.run, made.plain_for(items)
        queue = self._queue
        queue.extend(zip(indices, items, strict=True))
        if len(items) > 1:
            self._gather()  # the first of them may be tiny
        encode, plain, spool = codec.encode_result, codec.PLAIN, self._spool
        take = queue.popleft
        add_result, add_index = self._results.append, self._indices.append
        add_ended = self._ended.append
        current, since = page.index, page.since
        since[1] = self._began = start = clock()
        while True:
            try:
                index, item = take()
            except IndexError:
                return  # all done, or recalled
            current[0] = index
            try:
                result = run(index, item) if plain_run is None else plain_run(item)
            except BaseException as error:
                self._fail(index, "raised", error, start)
                since[1] = self._began = start = clock()
                continue
            if type(result) not in plain:
                try:
                    result = encode(result) if spool is None else spool.encode(index, result)
                except BaseException as error:
                    what = f"its result, a {type(result).__name__}, "
                    self._fail(index, "unpicklable result", error, start, what)
                    since[1] = self._began = start = clock()
                    continue
                if len(result) > LARGE:
                    self._look_at = self._flush_at = 0.0
            ended = clock()
            look = ended >= self._look_at or not queue
            if look:
                self._look(index, ended, ended - start)
                since[1] = ended
            start = ended
            add_result(result)
            add_ended(ended)
            add_index(index)
            if look and ended >= self._flush_at:
                self._flush()

    def _decode(
        self, indices: Sequence[int], payload: bytes, wanted: list[int] | None
    ) -> tuple[Sequence[int], Sequence[Any]]:
        """The items to run, and which they are; those that cannot be decoded are reported, not returned."""
        encoded = codec.split_each(payload)
        if encoded is None:
            try:
                items = codec.decode_items(payload)
            except BaseException:
                # one bad item spoils the pickle of all; the farm sends them again one by one
                self._send(frames.UNREADABLE, sorted(indices if wanted is None else wanted))
                return (), ()
            if wanted is None:
                return indices, items
            chosen = set(wanted)
            places = [place for place, index in enumerate(indices) if index in chosen]
            return [indices[place] for place in places], [items[place] for place in places]
        chosen = set(indices if wanted is None else wanted)
        good, items = [], []
        for index, data in zip(indices, encoded, strict=True):
            if index in chosen:
                try:
                    items.append(codec.decode(data))
                    good.append(index)
                except BaseException as error:
                    self._fail(index, "unpicklable item", error, monotonic(), "the item ")
        return good, items

    def _fail(self, index: int, kind: str, error: BaseException, start: float, what: str = "") -> None:
        name, message, text = describe(error)
        if what:
            message = f"{what}cannot be pickled and unpickled: {name}: {message}{simulators.advice(error)}"
        seconds = monotonic() - start
        used = self._used(seconds)
        self._flush()
        self._send(frames.FAILED, index, kind, name, message, text, time() - seconds, seconds, *used)

    def _look(self, index: int, ended: float, seconds: float) -> None:
        """See what the item that has just ended has printed and used.

        Python's own streams tell when something is printed. Whether a library or a program has
        printed costs a system call to find out, more than a tiny item does; so while nobody prints,
        tiny items are asked for it only now and then.
        """
        printed = self._printed()
        if printed or seconds > frames.LONG:
            self._usage[index] = self._used(seconds)
        self._silent = 0 if printed else self._silent + 1
        self._look_at = min(ended + LEEWAY, self._flush_at) if self._silent >= QUIET else 0.0

    def _has_printed(self) -> None:
        """The item that runs is writing to one of Python's streams."""
        self._look_at = 0.0

    def _used(self, seconds: float) -> tuple[int | None, str]:
        """The memory that the item which has just ended has used, and what it printed."""
        memory = self._memory.take() if seconds > frames.LONG else None
        return memory, self._output.take() if self._output is not None else ""

    def _report(self, index: int, complete: float | None, taskname: str | None, phase: str) -> None:
        self._send(frames.REPORT, index, complete, taskname, phase)

    # -- sending ----------------------------------------------------------------------------------

    def _send(self, kind: int, *fields: Any) -> None:
        data = frames.pack(kind, *fields)
        with self._send_lock:
            self._send_bytes(data)

    def _send_bytes(self, data: bytes) -> None:
        self._look_at_channel()
        try:
            self._sock.sendall(data)
        except OSError:
            self._look_at_channel()
            vanish()

    def _look_at_channel(self) -> None:
        """End this process when a task has closed the channel: that number may be anything now."""
        if not self._channel.is_at(self._sock.fileno()):
            leave(frames.LOST)

    def _be_nobody(self) -> None:
        """In a process that the task has forked."""
        self._sock.close()
        if signal.getsignal(signal.SIGTERM) is _wait_for_the_farm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._flush_at = self._look_at = 0.0  # should it come back from the task, it sends, and so ends

    def _flush(self) -> None:
        """Send the results that wait. Any thread may call it."""
        with self._send_lock:
            count = len(self._indices)
            if not count:
                return  # and what ends next is sent at once: nobody watches the time after this
            self._gather()
            taken: list[list[Any]] = []
            for waiting in (self._indices, self._results, self._ended):
                taken.append(waiting[:count])
                del waiting[:count]
            indices, results, ended = taken
            # each began when the one before it had ended: whatever interrupts that sends these first
            seconds = array("d", map(sub, ended, [self._began, *ended[:-1]]))
            started = self._began + time() - monotonic()
            self._began = ended[-1]
            usage = {}  # not the other one, even if that is empty: an item that ends now may add to it
            if self._usage:
                usage = {index: self._usage.pop(index) for index in indices if index in self._usage}
            self._send_bytes(
                frames.pack(
                    frames.DONE, frames.span(indices), codec.pack(results), started, seconds.tobytes(), usage
                )
            )
        signal.setitimer(signal.ITIMER_REAL, 0.0)  # an alarm that an item has left is not for the next

    def _gather(self) -> None:
        """Let results wait for a little while, and the helper watch over them."""
        self._flush_at = monotonic() + self._seconds_to_gather
        if not self._helper_awake:
            self._helper_awake = True
            self._helper_wanted.release()

    def _help(self) -> None:
        """Send results that ended just after a flush while the task's thread is in a long item.

        The task's thread sends by itself whatever ends later than that after a flush, so
        that only the time just after a flush has to be watched. Two looks must find nothing: that
        thread may have been interrupted between reading the clock and adding its result.
        """
        while True:
            self._helper_wanted.acquire()
            quiet = 0
            while quiet < 2:
                sleep(max(PATIENCE, self._flush_at + PATIENCE - monotonic()))
                over = monotonic() >= self._flush_at + PATIENCE  # else the task's thread is about to do it
                if self._indices:
                    quiet = 0
                    if over:
                        self._flush()
                elif over:
                    quiet += 1
            self._helper_awake = False
            if (self._indices or monotonic() < self._flush_at) and not self._helper_awake:
                self._helper_awake = True  # there was a flush just before, which found this thread awake
                self._helper_wanted.release()

    # -- receiving --------------------------------------------------------------------------------

    def _read(self) -> None:
        reader = frames.FrameReader()
        while True:
            self._look_at_channel()
            try:
                data = self._sock.recv(1 << 18)
            except OSError:
                data = b""
            if not data:
                self._look_at_channel()  # the task may have closed it since
                vanish()
            for kind, fields in reader.feed(data):
                if kind == frames.RECALL:
                    self._send(frames.RETURNED, self._give_back(*fields))
                elif kind == frames.EXIT:
                    self._exit()
                else:
                    with self._inbox_lock:
                        self._inbox.append((kind, fields))
                    self._arrived.release()

    def _give_back(self, everything: bool) -> list[int]:
        """Take items that have not begun away from the task's thread: all of them, or half.

        Of half, a process that is on no item keeps at least one. Otherwise two idle processes could
        for ever take the same items from each other before either begins one.
        """
        returned: list[int] = []
        with self._inbox_lock:
            waiting = [entry for entry in self._inbox if entry[0] == frames.ITEMS]
            blocks = [
                list(frames.indices(span)) if wanted is None else wanted for _, (span, _, wanted) in waiting
            ]
            count = len(self._queue) + sum(map(len, blocks))
            if not everything:
                count = (count + (self._page.index[0] >= 0)) // 2
            # the last block first; a part of one goes when the rest of it is enough
            for place in range(len(blocks) - 1, -1, -1):
                keep = max(0, len(blocks[place]) - (count - len(returned)))
                returned += blocks[place][keep:]
                at = self._inbox.index(waiting[place])
                if keep:
                    span, payload, _ = waiting[place][1]
                    self._inbox[at] = (frames.ITEMS, (span, payload, blocks[place][:keep]))
                    break
                del self._inbox[at]
        while len(returned) < count:
            try:
                returned.append(self._queue.pop()[0])
            except IndexError:
                break
        return sorted(returned)

    def _exit(self) -> None:
        with self._inbox_lock:
            self._inbox.clear()
            self._inbox.append((frames.EXIT, ()))
            self._queue.clear()
        self._arrived.release()
        if self._exiting.wait(HANDOVER):
            return  # the task's thread leaves in good order; else it is in an item, which is given up
        self._flush()
        self._part()

    def _part(self) -> NoReturn:
        """Say good-bye, and wait to be killed, with all that tasks have started.

        A process that ended by itself would leave these behind, if the farm were killed just then.
        """
        _flush_streams()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
            os.set_blocking(self._lifeline, True)
            os.read(self._lifeline, 1)
        vanish()


def describe(error: BaseException) -> tuple[str, str, str]:
    """Type, message and traceback of an exception, as text; never raises."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__"):
        name = f"{kind.__module__}.{name}"
    try:
        message = str(error)
    except BaseException:
        message = "(its text cannot be made)"
    try:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            trace = trace.tb_next  # farmhand's own frames say nothing to the task's author
        import traceback  # few tasks need it

        text = "".join(traceback.format_exception(kind, error, trace))
    except BaseException:
        text = ""
    # lone surrogates would not fit into a store
    return tuple(part.encode("utf-8", "backslashreplace").decode() for part in (name, message, text))  # type: ignore[return-value]


class PeakMemory:
    """The most memory that this process has had in use at once; from Linux, elsewhere unknown."""

    def __init__(self) -> None:
        self._known = False
        with contextlib.suppress(OSError):
            self._status = os.open("/proc/self/status", os.O_RDONLY)
            self._reset = os.open("/proc/self/clear_refs", os.O_WRONLY)
            self._reset_identity = FileIdentity(self._reset)
            self._known = True

    def take(self) -> int | None:
        """The peak since the last call, in bytes."""
        if not self._known or not self._reset_identity.is_at(self._reset):
            return None
        try:
            _, _, rest = os.pread(self._status, 8192, 0).partition(b"VmHWM:")
            peak = int(rest.split(maxsplit=1)[0]) * 1024
            os.pwrite(self._reset, b"5", 0)  # says: forget the peak
            return peak
        except (OSError, ValueError, IndexError):
            return None


def _wait_for_the_farm(number: int, frame: object) -> None:
    """The farm was sent that signal, too, and will say what is to be done."""


def _nothing() -> bool:
    """Nothing that could be kept was printed."""
    return False


def _hold_on(lifeline: int) -> None:
    """End this process, and all it started, as soon as the farm is gone.

    On Linux the kernel does it: the end of the pipe's other end is a signal for the process group,
    and that signal is SIGKILL. No thread of this process need run, so that it works as well while
    a task holds the interpreter's lock or is stopped. Elsewhere the thread that reads what the
    farm sends must notice it.
    """
    if hasattr(fcntl, "F_SETSIG") and os.getpgrp() == os.getpid():
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    os.set_blocking(lifeline, False)
    try:
        os.read(lifeline, 1)
    except BlockingIOError:
        return  # the farm is there
    vanish()


def leave(code: int) -> NoReturn:
    """End this process now, with what it printed."""
    _flush_streams()
    os._exit(code)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()


def vanish() -> NoReturn:
    """The farm is gone: end this process and all that it started."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
