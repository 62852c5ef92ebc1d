"""Which Dask tasks are held for a run: as even as can be, never more than wanted, and none forgotten."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from farmhand.values import replace
from farmhand_dask.joining import Place
from farmhand_dask.leases import MOST_WAITING, Lease, Leases, Plan


def places(**threads: int) -> dict[str, Place]:
    """Workers by name, each with so many threads."""
    return {name: Place(name, threads=count) for name, count in threads.items()}


def where(plan: Plan) -> dict[str | None, int]:
    """How many leases are to be submitted to each place."""
    return dict(Counter(lease.place for lease in plan.submit))


def start(leases: Leases, plan: Plan) -> list[str]:
    """Every pinned lease of a plan begins to run; returns their ids."""
    pinned = [lease for lease in plan.submit if lease.place is not None]
    assert all(leases.granted(lease.id, lease.place) for lease in pinned)
    return [lease.id for lease in pinned]


def filled(count: int, **threads: int) -> tuple[Leases, list[str]]:
    """A run that has ``count`` leases in its places, and their ids."""
    leases = Leases()
    leases.set_places(places(**threads))
    return leases, start(leases, leases.plan(count, ()))


# -- where leases go -------------------------------------------------------------------------------


def test_the_emptiest_worker_is_next_by_the_part_of_its_threads_that_is_held():
    """A large worker gets more than a small one, and neither waits for the other to be full."""
    leases = Leases()
    leases.set_places(places(large=8, small=4))
    assert where(leases.plan(6, ())) == {"large": 4, "small": 2}
    assert where(leases.plan(12, ())) == {"large": 4, "small": 2}


def test_nothing_is_planned_twice():
    """What was said once is held to be done."""
    leases, _ = filled(3, a=2, b=2)
    assert leases.plan(3, ()) == Plan()


def test_what_is_wanted_beyond_the_room_waits_unpinned():
    """Dask sees tasks that nobody can run: that is what makes an adaptive cluster grow."""
    leases = Leases()
    leases.set_places(places(a=2))
    assert where(leases.plan(5, ())) == {"a": 2, None: 3}


def test_a_cluster_without_workers_is_asked_for_some():
    """As adaptive clusters are when nobody has used them for a while."""
    assert where(Leases().plan(3, ())) == {None: 3}


def test_no_more_wait_than_a_scheduler_is_glad_to_keep():
    """Somebody who asks for a million processes does not fill Dask's memory with tasks."""
    leases = Leases()
    assert where(leases.plan(10**9, ())) == {None: MOST_WAITING}
    assert leases.plan(10**9, ()) == Plan()


def test_new_room_takes_those_that_wait():
    """Pinned leases fill it evenly; as many unpinned ones, the youngest, are not needed any more."""
    leases = Leases()
    waiting = leases.plan(3, ()).submit
    leases.set_places(places(a=2))
    plan = leases.plan(3, ())
    assert where(plan) == {"a": 2}
    assert plan.release == [waiting[2].id, waiting[1].id]


def test_an_unpinned_lease_counts_where_dask_has_put_it():
    """Else its worker would be given one too many."""
    leases = Leases()
    [lease] = leases.plan(1, ()).submit
    assert leases.granted(lease.id, "a")  # before anybody said that there is such a worker
    leases.set_places(places(a=1, b=1))
    assert where(leases.plan(2, ())) == {"b": 1}


def test_leases_that_dask_has_put_before_ours_do_not_make_a_place_too_full():
    """It starts what waits as soon as a worker is there; meanwhile others may have been pinned to it."""
    leases = Leases()
    first, second = leases.plan(2, ()).submit
    leases.set_places(places(a=2))
    pinned = leases.plan(3, ()).submit
    assert leases.granted(first.id, "a")
    assert not leases.granted(second.id, "a"), "it was released"
    leases.set_places(places(a=2, b=2))
    plan = leases.plan(3, ())
    assert (plan.release[0], where(plan)) == (pinned[1].id, {"b": 1})


def test_a_lease_that_dask_has_moved_leaves_its_first_place():
    """A worker was lost, and Dask ran the task again elsewhere before anybody else noticed."""
    leases = Leases()
    leases.set_places(places(a=1))
    [_, lease] = leases.plan(2, ()).submit
    leases.granted(lease.id, "b")
    leases.granted(lease.id, "c")
    leases.set_places(places(a=1, b=1, c=1))
    assert where(leases.plan(3, ())) == {"b": 1}


@pytest.mark.parametrize(
    ("needs", "slots"), [({"GPU": 1}, 2), ({"GPU": 0.1}, 8), ({"MEMORY": 0.1}, 3), ({"FPGA": 1}, 0), ({}, 8)]
)
def test_resources_bound_what_a_worker_is_good_for(needs, slots):
    """Two GPUs are two processes that need one, however many threads there are."""
    leases = Leases(needs)
    leases.set_places({"a": Place("a", threads=8, resources={"GPU": 2, "MEMORY": 0.3})})
    assert leases.room() == slots
    assert where(leases.plan(8, ())).get("a", 0) == slots


def test_no_two_runs_call_a_lease_the_same():
    """They are keys of Dask tasks: two runs on one scheduler would share a task that has the same key."""
    ids = [lease.id for _ in range(3) for lease in Leases().plan(3, ()).submit]
    assert len(set(ids)) == 9
    assert all(id.startswith("farmhand-") for id in ids)


# -- what is released ------------------------------------------------------------------------------


def test_what_waits_is_released_first_and_what_is_in_use_never():
    """A process that computes is worth more than one that might."""
    leases = Leases()
    leases.set_places(places(a=2))
    first, second, third = leases.plan(3, ()).submit
    assert leases.granted(first.id, "a")
    assert leases.plan(2, ()).release == [third.id]
    assert leases.plan(1, ()).release == [second.id]
    assert leases.plan(0, ()) == Plan()
    assert leases.plan(0, {first.id}).release == [first.id]


def test_the_fullest_worker_gives_first():
    """So that what is left is spread evenly again."""
    leases, ids = filled(6, a=4, b=2)
    leases.plan(3, ids)
    assert where(leases.plan(6, ())) == {"a": 2, "b": 1}


def test_a_lease_that_comes_too_late_is_told_to_end():
    """Its release and its start have crossed."""
    leases = Leases()
    [lease] = leases.plan(1, ()).submit
    leases.plan(0, ())
    assert not leases.granted(lease.id, "a")
    assert leases.plan(0, ()) == Plan()


def test_a_lease_that_is_over_is_replaced():
    """Somebody has cancelled it, or it has failed."""
    leases, ids = filled(2, a=1, b=1)
    leases.ended(ids[0])
    leases.ended(ids[0])
    assert where(leases.plan(2, ())) == {"a": 1}


# -- places that come and go -----------------------------------------------------------------------


def test_a_worker_that_is_gone_takes_its_leases_with_it():
    """They are released, lest Dask keeps the tasks for a worker that never returns."""
    leases, ids = filled(3, a=1, b=2)
    leases.set_places(places(a=1))
    plan = leases.plan(3, ())
    [kept] = {*ids} - {*plan.release}
    assert (len(plan.release), where(plan)) == (2, {None: 2})
    assert leases.granted(kept, "a")
    assert not leases.granted(plan.release[0], "b")


def test_a_worker_that_is_closing_gets_nothing_new_and_keeps_what_runs():
    """Its processes work until it is gone; what has not begun there goes elsewhere."""
    leases = Leases()
    leases.set_places(places(a=2, b=2))
    in_use, unused = (lease.id for lease in leases.plan(4, ()).submit if lease.place == "a")
    leases.granted(in_use, "a")
    leases.set_places({"a": Place("a", threads=2, status="closing_gracefully"), **places(b=2, c=1)})
    plan = leases.plan(4, ())
    assert (plan.release, where(plan)) == ([unused], {"c": 1})
    assert leases.room() == 4, "what it still runs counts"
    plan = leases.plan(4, {in_use})
    assert (plan.release, where(plan)) == ([in_use], {None: 1})
    assert leases.room() == 3


def test_a_worker_that_is_paused_is_used_again_when_it_goes_on():
    """Dask pauses workers that are short of memory."""
    leases = Leases()
    leases.set_places({"a": Place("a", threads=2, status="paused")})
    assert where(leases.plan(2, ())) == {None: 2}
    leases.set_places(places(a=2))
    assert where(leases.plan(2, ())) == {"a": 2}


# -- other people's tasks --------------------------------------------------------------------------


def test_threads_that_others_use_are_taken_last():
    """A shared cluster: of eight threads a program that wants four gets those that are idle."""
    leases = Leases()
    leases.set_places({"a": Place("a", threads=4, tasks=4), **places(b=4)})
    assert where(leases.plan(4, ())) == {"b": 4}
    assert where(leases.plan(5, ())) == {"a": 1}
    assert leases.room() == 8


def test_a_lease_does_not_wait_for_others_while_there_are_idle_threads():
    """It was put there when there was no other place, or before they came."""
    leases = Leases()
    leases.set_places({"a": Place("a", threads=2, tasks=2)})
    first, second = leases.plan(2, ()).submit
    leases.granted(first.id, "a")
    leases.set_places({"a": Place("a", threads=2, tasks=4), **places(b=2)})
    plan = leases.plan(2, ())
    assert (plan.release, where(plan)) == ([second.id], {"b": 1})


def test_our_own_tasks_are_not_taken_for_those_of_others():
    """A worker counts all that it runs."""
    leases, _ = filled(2, a=4, b=4)
    leases.set_places({name: Place(name, threads=4, tasks=1) for name in "ab"})
    assert where(leases.plan(8, ())) == {"a": 3, "b": 3}


# -- any history -----------------------------------------------------------------------------------


class Histories(RuleBasedStateMachine):
    """A cluster as Dask keeps it, and a farm with processes in leases: whatever can happen, in any order."""

    @initialize(
        gpus=st.booleans(), threads=st.lists(st.integers(0, 4), max_size=4), wanted=st.integers(0, 12)
    )
    def begin(self, gpus, threads, wanted):
        self.leases = Leases({"GPU": 1} if gpus else {})
        self.gpus = gpus
        self.workers: dict[str, Place] = {}
        self.known: dict[str, Place] = {}
        self.others: dict[str, int] = {}  # tasks of other users, at that time
        self.names = 0
        self.tasks: dict[str, Lease] = {}  # what Dask has of us
        self.runs: dict[str, str] = {}  # where they run
        self.told: dict[str, str] = {}  # where the policy believes that those run whose start it was told
        self.used: set[str] = set()  # by a process
        self.wanted = wanted
        for count in threads:
            self.a_worker_joins(count, count)

    def slots(self, place: Place) -> int:
        return min(place.threads, int(place.resources["GPU"])) if self.gpus else place.threads

    def held(self) -> Counter[str | None]:
        """How many leases each place has, as far as the farm knows."""
        return Counter(self.told.get(id, lease.place) for id, lease in self.tasks.items())

    def forget(self, id: str) -> None:
        del self.tasks[id]
        self.runs.pop(id, None)
        self.told.pop(id, None)
        self.used.discard(id)

    # what happens on the cluster

    @rule(threads=st.integers(0, 4), gpus=st.integers(0, 3))
    def a_worker_joins(self, threads, gpus):
        self.names += 1
        name = f"w{self.names}"
        self.workers[name] = Place(name, threads=threads, resources={"GPU": gpus})

    @precondition(lambda self: self.workers)
    @rule(
        data=st.data(),
        status=st.sampled_from(["running", "paused", "closing_gracefully"]),
        tasks=st.integers(0, 6),
    )
    def a_worker_changes(self, data, status, tasks):
        name = data.draw(st.sampled_from(sorted(self.workers)))
        self.workers[name] = replace(self.workers[name], status=status, tasks=tasks)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def a_worker_leaves(self, data):
        """Dask runs its unpinned tasks again, elsewhere and later; the processes in it are dead."""
        name = data.draw(st.sampled_from(sorted(self.workers)))
        del self.workers[name]
        for id in [id for id, place in self.runs.items() if place == name]:
            del self.runs[id]
            self.used.discard(id)

    @rule()
    def tasks_begin(self):
        """Dask starts what it can, pinned or not."""
        for id, lease in self.tasks.items():
            for name, place in self.workers.items():
                has_room = sum(at == name for at in self.runs.values()) < self.slots(place)
                may = place.status == "running" and lease.place in (None, name)
                if id not in self.runs and has_room and may:
                    self.runs[id] = name

    @rule()
    def starts_are_told(self):
        for id, place in list(self.runs.items()):
            if self.told.get(id) != place:
                if self.leases.granted(id, place):
                    self.told[id] = place
                else:
                    self.forget(id)  # it is told to end, and does so
                    self.leases.ended(id)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def a_task_ends(self, data):
        id = data.draw(st.sampled_from(sorted(self.tasks)))
        self.forget(id)
        self.leases.ended(id)

    # what happens in the farm

    @rule(count=st.integers(1, 4))
    def processes_start(self, count):
        count = min(count, self.wanted - len(self.used))
        self.used |= set(sorted(self.told.keys() & self.runs.keys() - self.used)[: max(0, count)])

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def a_process_ends(self, data):
        self.used.discard(data.draw(st.sampled_from(sorted(self.used))))

    @rule(wanted=st.integers(-1, 12))
    def the_farm_wants(self, wanted):
        self.wanted = wanted

    @rule()
    def workers_are_listed(self):
        self.known = dict(self.workers)
        self.leases.set_places(self.known)
        held = self.held()
        self.others = {name: max(0, place.tasks - held[name]) for name, place in self.known.items()}

    @rule(starts=st.booleans())
    def all_hear_of_each_other(self, starts):
        """Most of the time nothing happens meanwhile."""
        self.workers_are_listed()
        self.a_plan_is_carried_out()
        if starts:
            self.tasks_begin()
            self.starts_are_told()
            self.processes_start(2)

    @rule()
    def a_plan_is_carried_out(self):
        plan = self.leases.plan(self.wanted, self.told.keys() - self.used)
        assert len({lease.id for lease in plan.submit} | {*plan.release}) == len(plan.submit + plan.release)
        for id in plan.release:
            assert id in self.tasks, "it is over"
            assert id not in self.used or self.told[id] not in self.known, "a process lost its slot"
            self.forget(id)
        for lease in plan.submit:
            assert lease.place is None or self.known[lease.place].status == "running"
            self.tasks[lease.id] = lease
        assert self.leases.plan(self.wanted, self.told.keys() - self.used) == Plan(), "it was not all"
        self.check_that_it_is_what_is_wanted()

    def check_that_it_is_what_is_wanted(self):
        """Not more; and no worker idles while a process waits for a slot."""
        assert len(self.tasks) == max(self.wanted, len(self.used), 0)
        held = self.held()
        idle = {name: self.slots(self.known[name]) - held[name] - self.others[name] for name in self.known}
        somewhere = any(idle[name] > 0 for name, place in self.known.items() if place.status == "running")
        for name, place in self.known.items():
            if place.status == "running":
                pinned = sum(lease.place == name for lease in self.tasks.values())
                assert pinned <= self.slots(place), "more than it can ever run"
                assert held[name] >= self.slots(place) or not held[None], f"{name} is idle"
                begun = sum(at == name for at in self.told.values())
                assert not somewhere or idle[name] >= 0 or held[name] == begun, f"one waits at {name}"
            else:
                there = {id for id, lease in self.tasks.items() if self.told.get(id, lease.place) == name}
                assert there <= self.used, f"{name} begins nothing"

    @invariant()
    def room_is_that_of_the_places(self):
        if hasattr(self, "leases"):
            running = sum(self.slots(place) for place in self.known.values() if place.status == "running")
            shut = [name for name, place in self.known.items() if place.status != "running"]
            kept = sum(self.told.get(id) in shut for id in self.tasks)
            assert running <= self.leases.room() <= running + kept

    def teardown(self):
        """When the farm has ended, nothing of it is left on the cluster."""
        if hasattr(self, "leases"):
            self.wanted = 0
            self.used.clear()
            self.a_plan_is_carried_out()
            assert not self.tasks


TestHistories = Histories.TestCase
