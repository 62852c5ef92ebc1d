"""The simulator: it loses nothing, plays the same thing twice, and knows what it counts."""

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from farmhand.events import (
    ItemError,
    ItemsDone,
    ItemsReturned,
    ItemTimedOut,
    ProcessDied,
    RecordFailed,
    SendItems,
)
from farmhand.scheduler import Scheduler

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "simulate.py"
EVERYTHING_GOES_WRONG = {"deaths": 0.02, "timeouts": 0.01, "failures": 0.05}


def load():
    specification = importlib.util.spec_from_file_location("simulate", PROGRAM)
    module = importlib.util.module_from_spec(specification)
    sys.modules["simulate"] = module  # where dataclasses look for the names of their fields' types
    specification.loader.exec_module(module)
    return module


simulate = load()
Scenario = simulate.Scenario


def small(**options):
    return Scenario(**{"processes": 7, "items": 500} | options)


def command_line(*arguments):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=100,
    )


# -- a whole run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", simulate.FAMILIES)
@pytest.mark.parametrize("wrong", [{}, EVERYTHING_GOES_WRONG], ids=["fair", "foul"])
@pytest.mark.parametrize("processes", [1, 7, 600])
def test_every_item_ends_and_no_scheduler_is_faster_than_possible(family, wrong, processes):
    """With fewer processes than items and with more; `simulate` itself raises when an item is lost."""
    outcome = simulate.simulate(small(family=family, processes=processes, **wrong))
    assert outcome.done + outcome.failed == 500
    assert outcome.abandoned == 0
    assert outcome.makespan >= outcome.bound * (1 - 1e-9)
    assert 0 < outcome.efficiency <= 1 + 1e-9


def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    """A run that went wrong can be played again."""
    scenario = small(**EVERYTHING_GOES_WRONG)
    outcome = simulate.simulate(scenario)
    assert simulate.simulate(scenario) == outcome
    assert simulate.simulate(replace(scenario, seed=2)).makespan != outcome.makespan


def test_equal_items_are_shared_equally():
    """Ten processes that start at once, ten items of a second for each: ten seconds, and hardly more."""
    scenario = Scenario(10, 100, "constant", start=0.0, latency=0.001)
    outcome = simulate.simulate(scenario)
    assert outcome.bound == pytest.approx(10.0)
    trips = 2 * 10 + 2  # there and back for each item, and to begin with
    assert outcome.makespan <= 10.0 + trips * 0.001


def test_every_failed_attempt_is_either_tried_again_or_the_end_of_its_item():
    """Deaths and time-outs are all accounted for, whatever else goes on."""
    outcome = simulate.simulate(small(items=3_000, retries=1, **EVERYTHING_GOES_WRONG))
    assert min(outcome.deaths, outcome.timeouts, outcome.failures) > 0
    assert outcome.deaths + outcome.timeouts + outcome.failures == outcome.retried + outcome.failed


@pytest.mark.parametrize("way", ["deaths", "timeouts", "failures"])
def test_items_that_always_fail_fail_as_often_as_they_are_tried(way):
    """Twenty items, three attempts at each."""
    outcome = simulate.simulate(small(items=20, retries=2, **{way: 1.0}))
    assert getattr(outcome, way) == 60
    assert (outcome.done, outcome.failed, outcome.retried) == (0, 20, 40)


def test_wasted_attempts_count_as_work():
    """Otherwise nobody could come near the bound in a run with many of them."""
    fair = simulate.simulate(Scenario(2, 100, "constant"))
    foul = simulate.simulate(Scenario(2, 100, "constant", failures=0.3))
    assert foul.retried > 0
    assert foul.bound == pytest.approx(fair.bound + foul.retried / 2)


def test_many_tiny_items_are_few_events():
    """What a process has ended is told at once, or a million items would take an hour."""
    outcome = simulate.simulate(Scenario(20, 100_000, "tiny"))
    assert outcome.done == 100_000
    assert outcome.events < 10_000


def test_recorded_durations_are_taken_in_turn():
    """Of a run in the past, as it would be with other processes."""
    scenario = Scenario(1, 5, recorded=(1.0, 2.0), start=0.0)
    assert simulate.simulate(scenario).bound == pytest.approx(1 + 2 + 1 + 2 + 1)


def test_later_items_of_a_trend_take_longer():
    """The case in which the first items tell least about the rest."""
    seconds = simulate.Durations(small(family="trend"))
    assert seconds(0) < 0.2 < 1.5 < seconds(499) <= seconds.longest


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.999])
def test_misfortune_strikes_as_often_as_its_rate_says(rate):
    """Although a number is not drawn for each attempt: 20 000 times, within a tenth."""
    misfortune = simulate.Misfortune(small(deaths=rate))
    attempts = sum(misfortune.attempts_before() + 1 for _ in range(20_000))
    assert 20_000 / attempts == pytest.approx(rate, rel=0.1)


def test_processes_that_are_far_away_are_hardly_less_busy():
    """A hundred of them, a tenth of a second from question to answer: 2 s of work, and some round trips."""
    near, far = (
        simulate.simulate(Scenario(100, 20_000, "uniform", mean=0.01, latency=latency))
        for latency in (0.0005, 0.05)
    )
    assert far.makespan < near.makespan + 6 * 0.1
    assert far.in_hand > near.in_hand


def test_results_that_are_gathered_for_longer_are_fewer_messages():
    """What 10 000 processes say in a second is more than one caller can hear."""
    often, seldom = (
        simulate.simulate(Scenario(50, 20_000, "uniform", mean=0.01, latency=0.01, gather=gather))
        for gather in (0.02, 0.2)
    )
    assert seldom.events < often.events / 3
    assert seldom.makespan < often.makespan + 1.0


def test_messages_and_bytes_are_counted_by_computer():
    """What the processes of one computer say at about the same time is one message."""
    traffic = simulate.Traffic(10, 100)
    for number, now in [(0, 1.0), (9, 1.005), (10, 1.005), (0, 2.0)]:
        traffic.add(number, 2, now)
    assert traffic.messages == 3
    few, many = simulate.Traffic(10, 100), simulate.Traffic(10, 1000)
    few.add(0, 2, 1.0)
    many.add(0, 2, 1.0)
    assert many.bytes - few.bytes == 2 * 900


def test_the_memory_of_the_scheduler_grows_with_the_processes_and_not_with_the_items():
    few, many, more_items = (
        simulate.simulate(Scenario(processes, items, "constant", mean=0.1)).memory
        for processes, items in [(10, 1_000), (100, 1_000), (10, 5_000)]
    )
    assert few < 100_000
    assert many > 3 * few
    assert more_items < 1.5 * few


# -- a process ---------------------------------------------------------------------------------------


class Played:
    """A process that is told things by a test; what it says is in ``said``, with the time of its arrival."""

    def __init__(self, **options):
        scenario = small(family="constant", **options)
        self.agenda = simulate.Agenda()
        self.said = []
        misfortune = simulate.Misfortune(scenario)
        durations = simulate.Durations(scenario)
        self.world = simulate.World(self.agenda, durations, misfortune, scenario.latency, self.hear)
        self.process = simulate.Process(3, self.world)

    def hear(self, event):
        self.said.append((round(self.agenda.now, 3), event))

    def until(self, time):
        self.agenda.go_on_until(time)
        self.agenda.now = time
        said, self.said = self.said, []
        return said


def test_a_process_on_an_item_gives_back_half_of_those_it_has_not_begun():
    """The one that it is on stays; of four others, two go, the last ones first."""
    played = Played(latency=0.25)
    played.process.receive(range(5))
    played.until(0.5)
    played.process.give_back(False)
    assert played.until(0.75) == [(0.75, ItemsReturned(3, [3, 4]))]
    done = [event for _, event in played.until(9.0)]
    assert [(type(event), list(event.indices)) for event in done] == [
        (ItemsDone, [index]) for index in range(3)
    ]


def test_a_process_gives_back_everything_that_it_has_not_begun():
    """As it is asked to at a pause."""
    played = Played(latency=0.25)
    played.process.receive(range(5))
    played.process.give_back(True)
    assert played.until(0.25) == [(0.25, ItemsReturned(3, [1, 2, 3, 4]))]


def test_a_process_that_dies_takes_down_the_item_that_it_was_on():
    """And says nothing any more, whatever it is told."""
    played = Played(deaths=1.0)
    played.process.receive(range(5))
    ((when, death),) = played.until(9.0)
    assert (death.number, death.index) == (3, 0)
    assert 0 < when < 1.001
    played.process.receive(range(5, 9))
    played.process.give_back(True)
    played.process.leave()
    assert played.until(20.0) == []


def test_an_item_that_hangs_ends_when_its_process_is_killed():
    """The farm notices it by itself, without a message; the process only dies of it."""
    played = Played(timeouts=1.0, latency=0.25)
    played.process.receive(range(5))
    assert played.until(2.0) == [(1.5, ItemTimedOut(3, 0, 1.5))]
    played.process.be_killed()
    assert played.until(9.0) == [(2.25, ProcessDied(3, 0, "signal 9 (SIGKILL)", 0.0, 2.0))]
    assert played.world.work == 2.0


# -- the audit ---------------------------------------------------------------------------------------


class Forgetful(Scheduler):
    """It sends an item less than it says that it did."""

    def handle(self, event, now):
        commands = super().handle(event, now)
        for place, command in enumerate(commands):
            if isinstance(command, SendItems) and 250 in command.indices:
                indices = [index for index in command.indices if index != 250]
                commands[place] = SendItems(command.number, indices)
        return commands


def test_a_scheduler_that_loses_an_item_is_found_out(monkeypatch):
    """Then nothing would ever happen again: a farm would wait for ever."""
    monkeypatch.setattr(simulate, "Scheduler", Forgetful)
    with pytest.raises(AssertionError, match="nothing will ever happen again"):
        simulate.simulate(small())


def audited(*, done=(0, 1, 2), failed=(), inflicted=()):
    """Three items: a scheduler for which they are done, and a ledger that says what a test wants."""
    scheduler = Scheduler(1, 3)
    scheduler.read = scheduler.done = 3
    ledger = simulate.Ledger(3)
    ledger.record_done(done, 1.0)
    for index in failed:
        ledger.record_failed(RecordFailed(index, ItemError("raised", "", "")), 1.0)
    ledger.audit(scheduler, Counter(inflicted))


def test_the_audit_finds_what_did_not_end_exactly_once():
    """It is what the other tests rely upon."""
    audited()
    with pytest.raises(AssertionError, match="an item has no end"):
        audited(done=[0, 1])
    with pytest.raises(AssertionError, match="an item ended twice"):
        audited(done=[0, 1, 1, 2])
    with pytest.raises(AssertionError, match="an item ended twice"):
        audited(failed=[2])
    with pytest.raises(AssertionError, match="miscounts"):
        audited(done=[0, 1], failed=[2])
    with pytest.raises(AssertionError, match="was not recorded"):
        audited(inflicted=["died"])


# -- the command line --------------------------------------------------------------------------------


def test_the_command_line_prints_a_table_and_keeps_the_numbers(tmp_path):
    """A line for each scenario, before and after its costs."""
    file = tmp_path / "numbers.json"
    wrong = ("--deaths", 0.01, "--timeouts", 0.01, "--failures", 0.01, "--retries", 5, "--seed", 7)
    ran = command_line("--processes", 12, "--items", 3000, "--family", "bimodal", *wrong, "--json", file)
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    headings = lines[0].split()
    assert headings[:3] == ["processes", "items", "family"]
    (numbers,) = json.loads(file.read_text())
    assert numbers["scenario"] | {"processes": 12, "items": 3000, "seed": 7} == numbers["scenario"]
    row = dict(zip(headings, lines[1].replace(" s", "").split(), strict=True))
    assert row["items"] == "3,000"
    for name in ("deaths", "timeouts", "failed", "retried"):
        assert row[name] == str(numbers[name])
    assert row["efficiency"] == f"{numbers['efficiency']:.1%}"


def test_durations_are_read_from_a_file(tmp_path):
    """One in each line, as a store's records tell them."""
    (tmp_path / "seconds.txt").write_text("1.5\n0.5\n")
    ran = command_line("--items", 4, "--processes", 1, "--start", 0, "--recorded", tmp_path / "seconds.txt")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "recorded" in ran.stdout
    assert " 4.000 s" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--processes", "0"], "--processes: 0 is not between 1 and 100000"),
        (["--items", "many"], "--items: 'many' is not a whole number"),
        (["--items", "1e15"], "--items: '1e15' is not a whole number"),
        (["--items", "1" + 15 * "0"], "--items: 1000000000000000 is not between"),
        (["--family", "bimodel"], "--family: invalid choice: 'bimodel'"),
        (["--deaths", "1.5"], "--deaths: 1.5 is not between 0 and 1"),
        (["--deaths", "nan"], "--deaths: nan is not between 0 and 1"),
        (["--deaths", "0.6", "--failures", "0.6"], "more than all attempts"),
        (["--latency", "-1"], "--latency: -1 is not between"),
        (["--recorded", "missing.txt"], "missing.txt cannot be read"),
        (["--recorded", str(PROGRAM)], "is not a number"),
        (["--json", str(PROGRAM / "x.json")], "--json: "),
        (["--cluster", "--processes", "5"], "no scenario of your own"),
        (["--procesess", "5"], "unrecognized arguments: --procesess 5"),
    ],
)
def test_a_mistake_is_explained_in_a_line(arguments, complaint):
    """It names the culprit, and there is no stack trace."""
    ran = command_line(*arguments)
    assert ran.returncode == 2
    assert complaint in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_the_standard_scenarios_are_as_large_as_is_claimed():
    """They are played by `nox -s simulate`; here only what they are is looked at."""
    sizes = {(scenario.processes, scenario.items, scenario.family) for scenario in simulate.STANDARD}
    assert (2_000, 2_000_000, "tiny") in sizes
    assert any(scenario.items == 200_000 and scenario.deaths for scenario in simulate.STANDARD)


def test_the_scenarios_of_a_cluster_are_as_large_as_is_claimed():
    """They are played by `nox -s simulate -- --cluster`; their table can be written of any others, too."""
    sizes = {(scenario.processes, scenario.items) for scenario in simulate.CLUSTER}
    assert sizes >= {(1_000, 10_000_000), (10_000, 10_000_000)}
    latencies = {scenario.latency for scenario in simulate.CLUSTER}
    assert (min(latencies), max(latencies)) == (0.001, 0.05)
    table = simulate.markdown([simulate.simulate(small())]).splitlines()
    assert len(table) == 3
    assert len({line.count("|") for line in table}) == 1
