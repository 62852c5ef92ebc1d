"""Which Dask tasks to hold, so that farmhand's processes have slots: policy alone, without input or output.

A *lease* is a Dask task that stands for one slot of a Dask worker while one of farmhand's processes runs
there. As long as there is room, each lease is pinned to a worker, so that all are filled evenly; what is
wanted beyond that waits unpinned, for Dask to place it: that is what makes an adaptive cluster grow.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heapreplace

from farmhand.values import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from farmhand_dask.joining import Place

__all__ = ["Lease", "Leases", "Plan"]

MOST_WAITING = 1000  # leases that nothing has room for: enough to let a cluster grow, and no burden to Dask


@dataclass(slots=True)
class Lease:
    """A Dask task that stands for a slot.

    Parameters
    ----------
    id : str
        What it is called; no other lease of any run is called the same, so that it can be the task's key.
    place : str or None
        The address of the worker that it is pinned to; None: Dask places it.
    granted : str or None
        The address of the worker that runs it; None: it waits.
    """

    id: str
    place: str | None = None
    granted: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to have the right leases.

    Parameters
    ----------
    submit : list of Lease
        Those to submit to Dask.
    release : list of str
        The ids of those to end, whether they run or wait; they are forgotten here.
    """

    submit: list[Lease] = field(default_factory=list)
    release: list[str] = field(default_factory=list)


class Leases:
    """Decides which leases to hold. The caller submits and ends them, and tells what became of them.

    Parameters
    ----------
    needs : mapping of str to float
        The Dask resources that each process needs, beside a thread.
    """

    def __init__(self, needs: Mapping[str, float] | None = None) -> None:
        self._needs = {name: need for name, need in (needs or {}).items() if need > 0}
        self._prefix = f"farmhand-{os.urandom(4).hex()}"  # eight digits, which Dask's dashboard leaves out
        self._count = 0
        self._leases: dict[str, Lease] = {}
        self._slots: dict[str, int] = {}  # of each place: for how many leases it is good, 0 while it is shut
        self._others: dict[str, int] = {}  # threads of a place that tasks of other users have, or wait for
        self._shut: list[str] = []  # places that keep the leases they run, and get no more
        self._open_slots = 0
        self._at: dict[str, dict[str, Lease]] = {}  # the leases that run at, or are pinned to, an address
        self._waiting: dict[str, Lease] = {}  # neither pinned nor granted, oldest first
        self._orphans: dict[str, None] = {}  # of places that are gone: to be released
        self._wanted = 0
        self._changed = False  # since the last plan, so that it may not be right any more

    def set_places(self, places: Mapping[str, Place]) -> None:
        """Say which workers there are now. One that is gone takes its leases with it."""
        slots = {}
        shut = []
        others = {}
        for address, place in places.items():
            if place.status == "running":
                slots[address] = self._slots_of(place)
            else:
                slots[address] = 0
                shut.append(address)
            if place.tasks and (count := place.tasks - len(self._at.get(address, ()))) > 0:
                others[address] = count
        if slots == self._slots and shut == self._shut and others == self._others:
            return
        for address in [address for address in self._slots if address not in slots]:
            for id in self._at.pop(address, ()):
                del self._leases[id]
                self._orphans[id] = None
        self._slots, self._shut, self._others, self._open_slots = slots, shut, others, sum(slots.values())
        self._changed = True

    def plan(self, wanted: int, free: Collection[str]) -> Plan:
        """What to submit and to release now; it counts as done.

        Takes time in proportion to the number of places and leases, and none when nothing has changed.

        Parameters
        ----------
        wanted : int
            How many processes are to have a slot, those that have one included.
        free : collection of str
            The ids of granted leases that no process uses: no other granted one is released.
        """
        wanted, free = max(0, wanted), {*free}
        if not self._changed and wanted == self._wanted and not self._can_spare(wanted, free):
            return Plan()
        self._wanted, self._changed = wanted, False
        plan = Plan(release=list(self._orphans))
        self._orphans.clear()
        self._leave_the_shut(plan, free)
        self._shrink(plan, wanted, free)
        self._leave_the_full(plan, wanted)
        self._fill(plan, wanted)
        return plan

    def granted(self, id: str, address: str) -> bool:
        """A lease has begun to run at ``address``; False: it is not wanted any more, and is to end."""
        lease = self._leases.get(id)
        if lease is None:
            return False
        if address != (lease.granted or lease.place):  # Dask has placed it, or moved it from a lost worker
            self._take_from_its_place(lease)
            self._at.setdefault(address, {})[id] = lease
            self._changed = True
        lease.granted = address
        return True

    def ended(self, id: str) -> None:
        """A lease is over: it has finished, failed, or was cancelled by somebody else."""
        self._orphans.pop(id, None)
        lease = self._leases.pop(id, None)
        if lease is not None:
            self._take_from_its_place(lease)
            self._changed = True

    def room(self) -> int:
        """How many leases all places are good for; one that is shut (closing, paused) for those it runs."""
        kept = sum(lease.granted is not None for place in self._shut for lease in self._held(place))
        return self._open_slots + kept

    def slots(self, place: str) -> int:
        """For how many leases one place is good, if nobody else has tasks there."""
        return self._slots.get(place, 0)

    # -- the parts of a plan ------------------------------------------------------------------------

    def _can_spare(self, wanted: int, free: Collection[str]) -> bool:
        """Whether there are unused leases that the last plan did not know to be so."""
        if not free:
            return False
        return len(self._leases) > wanted or any(
            lease.id in free for place in self._shut for lease in self._held(place)
        )

    def _leave_the_shut(self, plan: Plan, free: Collection[str]) -> None:
        """Release what a place that is shut would not start, or would start a process with."""
        for place in self._shut:
            for lease in [*self._held(place)]:
                if lease.granted is None or lease.id in free:
                    self._release(plan, lease)

    def _shrink(self, plan: Plan, wanted: int, free: Collection[str]) -> None:
        """Release what is more than wanted: what waits before what is granted and unused."""
        self._release_waiting(plan, len(self._leases) - wanted)
        surplus = len(self._leases) - wanted
        if surplus <= 0:
            return
        pinned = [lease for lease in self._leases.values() if lease.granted is None]
        self._release_evenly(plan, pinned, surplus)
        unused = [lease for lease in self._leases.values() if lease.id in free and lease.granted]
        self._release_evenly(plan, unused, len(self._leases) - wanted)

    def _leave_the_full(self, plan: Plan, wanted: int) -> None:
        """Release what waits where it is not its turn soon.

        That is beyond all slots of a place, where Dask has put others of ours meanwhile; or behind tasks of
        other users, as far as there are idle threads elsewhere.
        """
        idle = 0
        full = []
        for place, slots in self._slots.items():
            left = self._idle(place)
            if left < 0 and place in self._at:
                full.append((place, len(self._at[place]) - slots))
            idle += max(0, left)
        idle -= wanted - (len(self._leases) - len(self._waiting))  # these come first
        for place, beyond in full:
            waiting = [lease for lease in self._held(place) if lease.granted is None]
            behind = min(idle, -self._idle(place)) if place in self._others else 0
            count = max(0, min(len(waiting), max(beyond, behind)))
            idle -= count
            for lease in waiting[len(waiting) - count :]:
                self._release(plan, lease)

    def _fill(self, plan: Plan, wanted: int) -> None:
        """Give each place what it is good for, the emptiest first; what is wanted beyond that waits."""
        missing = wanted - (len(self._leases) - len(self._waiting))
        order = []
        for position, (place, slots) in enumerate(self._slots.items()):
            if missing > 0 and len(self._at.get(place, ())) < slots:
                order.append((self._load(place), position, place))
        heapify(order)
        while missing > 0 and order:
            _, position, place = order[0]
            self._submit(plan, place)
            missing -= 1
            if len(self._at[place]) < self._slots[place]:
                heapreplace(order, (self._load(place), position, place))
            else:
                heappop(order)
        missing = min(missing, max(MOST_WAITING, self.room()))
        self._release_waiting(plan, len(self._waiting) - max(0, missing))
        for _ in range(missing - len(self._waiting)):
            self._submit(plan, None)

    def _submit(self, plan: Plan, place: str | None) -> None:
        self._count += 1
        lease = Lease(f"{self._prefix}-{self._count}", place)
        self._leases[lease.id] = lease
        if place is None:
            self._waiting[lease.id] = lease
        else:
            self._at.setdefault(place, {})[lease.id] = lease
        plan.submit.append(lease)

    def _release(self, plan: Plan, lease: Lease) -> None:
        del self._leases[lease.id]
        self._take_from_its_place(lease)
        plan.release.append(lease.id)

    def _release_waiting(self, plan: Plan, surplus: int) -> None:
        """Release the youngest of those that wait: Dask starts the oldest first."""
        for _ in range(min(surplus, len(self._waiting))):
            self._release(plan, next(reversed(self._waiting.values())))

    def _release_evenly(self, plan: Plan, candidates: Iterable[Lease], surplus: int) -> None:
        """Release some of the candidates: each time one of the fullest place."""
        at: dict[str, list[Lease]] = {}
        for lease in candidates if surplus > 0 else ():
            at.setdefault(lease.granted or lease.place or "", []).append(lease)
        order = [(-self._load(place), position, place) for position, place in enumerate(at)]
        heapify(order)
        while surplus > 0 and order:
            _, position, place = order[0]
            self._release(plan, at[place].pop())
            surplus -= 1
            if at[place]:
                heapreplace(order, (-self._load(place), position, place))
            else:
                heappop(order)

    # -- places -------------------------------------------------------------------------------------

    def _slots_of(self, place: Place) -> int:
        """For how many leases a place is good, by its threads and by the resources that each needs."""
        slots = place.threads
        for name, need in self._needs.items():
            slots = min(slots, int(place.resources.get(name, 0) / need + 1e-9))  # 0.3 / 0.1 is less than 3
        return max(0, slots)

    def _held(self, place: str) -> Collection[Lease]:
        return self._at.get(place, {}).values()

    def _load(self, place: str) -> float:
        """How full a place is: from 1.0 on, more would wait. One that is shut, or unknown, is the fullest."""
        slots = self._slots.get(place, 0)
        return 1 - self._idle(place) / slots if slots else float("inf")

    def _idle(self, place: str) -> int:
        """How many slots of a place nobody has; below zero, so many tasks wait there."""
        return self._slots.get(place, 0) - len(self._at.get(place, ())) - self._others.get(place, 0)

    def _take_from_its_place(self, lease: Lease) -> None:
        place = lease.granted or lease.place
        if place is None:
            self._waiting.pop(lease.id, None)
            return
        there = self._at.get(place, {})
        there.pop(lease.id, None)
        if not there:
            self._at.pop(place, None)
