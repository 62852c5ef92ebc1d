"""The evaluation of the time remaining: what is replayed, what the peers say, and what is made of it."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import eta
import families
import peers
import pytest
from families import BadTrace, Course, Trace
from replay import CHECKPOINTS, Ended, Look, OnIt, Replay, Sleep

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "eta.py"


def run_of(*seconds, **options):
    facts = {"name": "a trace", "group": "made up", "split": "tune", "processes": 2, "start": 0.0}
    return Trace(**{**facts, **options, "seconds": tuple(map(float, seconds))})


def exponential(seed, count=60, **options):
    drawn = families.seconds(families.DRAWS["exponential"], count, f"a test {seed}")
    facts = {"name": f"exponential, {seed}", "processes": 3, "seed": seed, "family": "exponential"}
    return run_of(*drawn, **facts | options)


def ended(look):
    return [index for each in look.ended for index in each.indices]


# -- what is replayed --------------------------------------------------------------------------------


def test_equal_items_end_in_turns():
    """Twelve items of two seconds in three processes: eight seconds, and at half time six are done."""
    replay = Replay(run_of(*[2.0] * 12, processes=3))
    assert replay.makespan == pytest.approx(8.0, rel=0.01)
    look = replay.looks(100)[54]
    assert (look.done, look.left, len(look.running)) == (6, 6, 3)
    assert look.truth == pytest.approx(0.45 * 8.0, rel=0.01)
    for each in look.running:
        assert each.elapsed == pytest.approx(0.4, abs=0.1)
        assert each.elapsed + each.left == pytest.approx(2.0)


def test_every_item_is_seen_to_end_once_and_until_then_it_waits_or_runs():
    """Whatever goes wrong in between, except those that end with the run itself."""
    trace = exponential(1, failures=0.2, deaths=0.1, retries=20)
    done = []
    for look in Replay(trace).looks(100):
        done += [index for each in look.ended if not each.again for index in each.indices]
        running = [each.index for each in look.running]
        assert len(done) == len(set(done)) == look.done
        assert not set(done) & set(running)
        assert look.done + look.left == 60
        if look.part in CHECKPOINTS:
            assert sorted([*done, *running, *look.waiting]) == list(range(60))
    assert len(done) >= 57


def test_more_work_and_fewer_processes_take_longer():
    """The order of the makespans is that of common sense."""
    trace = exponential(1)
    makespan = Replay(trace).makespan
    assert Replay(replace(trace, processes=6)).makespan < makespan
    assert Replay(replace(trace, resizes=((0.2, 6),))).makespan < makespan
    assert Replay(replace(trace, resizes=((0.2, 1),))).makespan > makespan
    assert Replay(replace(trace, failures=0.3)).makespan > makespan
    assert Replay(replace(trace, start_up=5.0)).makespan > makespan
    assert Replay(replace(trace, skipped=frozenset(range(30)))).makespan < makespan


def test_the_first_item_of_each_process_is_told_apart():
    """It takes longer by what the process has to import or to compile, and the others don't."""
    looks = Replay(run_of(*[1.0] * 20, start_up=3.0)).looks(100)
    all_ended = [each for look in looks for each in look.ended]
    firsts = [each for each in all_ended if each.first]
    assert [each.seconds[0] for each in firsts] == [4.0, 4.0]
    assert {each.seconds[0] for each in all_ended if not each.first} == {1.0}
    assert all(each.first for each in looks[0].running)
    assert not any(each.first for each in looks[-1].running)


def test_what_is_skipped_never_runs():
    """The others keep their indices, on which a trend depends."""
    looks = Replay(run_of(*range(1, 11), skipped=frozenset({0, 3, 4}))).looks(100)
    assert (looks[0].done, looks[0].left) == (0, 7)
    last = [each.index for each in looks[-1].running]
    assert sorted([index for look in looks for index in ended(look)] + last) == [1, 2, 5, 6, 7, 8, 9]


def test_attempts_that_were_recorded_as_failures_fail_again():
    """For as long as they took then; the item is done after the last of them."""
    replay = Replay(run_of(*[1.0] * 10, processes=1, retried=((3, 5.0), (3, 6.0), (7, 2.0))))
    assert replay.makespan == pytest.approx(10.0 + 5.0 + 6.0 + 2.0, rel=0.01)
    failed = [each for look in replay.looks(100) for each in look.ended if each.again]
    assert sorted((each.indices[0], each.seconds[0]) for each in failed) == [(3, 5.0), (3, 6.0), (7, 2.0)]


def test_a_sleep_is_in_what_the_clock_shows_but_not_in_the_truth():
    """The items that were running have measured it; nobody else has."""
    awake = Replay(run_of(*[1.0] * 20))
    asleep = Replay(run_of(*[1.0] * 20, sleeps=(0.43, 100.0)))
    assert asleep.makespan == awake.makespan
    before, after = asleep.looks(100)[41], asleep.looks(100)[-1]
    assert before.elapsed == awake.looks(100)[41].elapsed
    assert after.elapsed == pytest.approx(awake.looks(100)[-1].elapsed + 100.0)
    assert [look.truth for look in asleep.looks(100)] == [look.truth for look in awake.looks(100)]
    (sleep,) = [look.slept for look in asleep.looks(100) if look.slept is not None]
    assert sleep.seconds == 100.0
    slow = [each.indices for look in asleep.looks(100) for each in look.ended if each.seconds[0] > 50.0]
    assert sorted(index for indices in slow for index in indices) == sorted(sleep.indices)


def test_another_number_of_processes_is_seen_once_it_is_wanted():
    """It is what the estimator is told, as of a farm that was resized."""
    looks = Replay(exponential(2, resizes=((0.3, 5),))).looks(100)
    processes = [look.processes for look in looks]
    assert processes == sorted(processes)
    assert (processes[0], processes[-1]) == (3, 5)
    assert max(len(look.running) for look in looks) == 5


def test_reports_follow_the_course_of_the_item():
    """Nothing before the first, then what it says, which need not be what is true."""
    course = Course((0.5, 1.0), (0.2, 1.0))
    looks = Replay(run_of(*[10.0] * 4, course=course)).looks(100)
    first, later = looks[0].running[0], looks[24].running[0]
    assert first.reported is first.complete is None
    assert later.elapsed == pytest.approx(5.0, abs=0.1)
    assert later.reported == pytest.approx(0.2, abs=0.02)
    assert later.rest == pytest.approx(20.0, rel=0.2)
    assert later.left == pytest.approx(5.0, abs=0.1)


def test_between_two_reports_an_item_goes_on_as_its_bar_in_a_farm_does():
    """A report is half a second old here on average; who shows the last one alone stands still."""
    course = Course((1.0,), (1.0,))
    running = [look.running[0] for look in Replay(run_of(*[10.0] * 4, course=course)).looks(400)[20:180]]
    assert len({each.reported for each in running}) < 20
    assert len({each.complete for each in running}) == 160
    assert all(each.complete == pytest.approx(each.elapsed / 10.0) for each in running)


def test_seconds_are_spent_while_items_wait():
    """Times the processes that could work on them; at the end, when none waits, no more."""
    replay = Replay(run_of(*[1.0] * 20, start=0.5))
    looks = replay.looks(100)
    assert sum(look.spent for look in looks) == pytest.approx(2 * 9.0, rel=0.01)
    assert looks[0].spent == looks[-1].spent == 0.0


# -- what the others say -----------------------------------------------------------------------------


def look_at(*, elapsed=10.0, done=4, left=6, running=(), ended=(), **options):
    facts = {"part": 0.5, "processes": 2, "spent": 0.0, "slept": None, "truth": 10.0}
    return Look(
        elapsed=elapsed, done=done, left=left, running=tuple(running), ended=tuple(ended), **facts | options
    )


def at(when, *indices):
    return Ended(when, indices, [1.0] * len(indices), first=False)


def ended_by(when, count):
    return at(when, *range(count))


def test_elapsed_by_done_by_hand():
    """Four of ten in ten seconds: six more take fifteen."""
    assert peers.Average(run_of(*[1.0] * 10)).look(look_at()) == 15.0
    assert peers.Average(run_of(*[1.0] * 10)).look(look_at(done=0, left=10)) is None


def test_skipped_items_make_a_bar_hopeful():
    """Ten were skipped, so that fourteen seem done; who leaves them out is not fooled."""
    trace = run_of(*[1.0] * 20, skipped=frozenset(range(10)))
    assert peers.Average(trace).look(look_at()) == pytest.approx(10.0 / 14 * 6)
    assert peers.OwnAverage(trace).look(look_at()) == 15.0


def test_tqdm_by_hand():
    """Updates after 2 and 1 seconds, of one item each: the averages' ratio, where older ones count 0.7."""
    tqdm = peers.Tqdm(run_of(*[1.0] * 10))
    assert tqdm.look(look_at(done=0, left=10)) is None
    answer = tqdm.look(look_at(done=2, left=8, ended=[at(2.0, 0), at(3.0, 1)]))
    assert answer == pytest.approx(8 * (0.3 * 1.0 + 0.7 * 0.3 * 2.0) / (0.3 * 1.0 + 0.7 * 0.3 * 1.0))


def test_tqdm_takes_updates_that_are_close_together_as_one():
    """Two items within a tenth of a second are an update of two."""
    tqdm = peers.Tqdm(run_of(*[1.0] * 10))
    answer = tqdm.look(look_at(done=3, left=7, ended=[at(0.05, 0), at(0.06, 1), at(1.0, 2)]))
    assert answer == pytest.approx(7 * 1.0 / 3)


def test_tqdm_waits_for_as_many_items_as_usual():
    """A hundred in the first tenth of a second: fifty are no update, and another fifty make them one."""
    tqdm = peers.Tqdm(run_of(*[1.0] * 1000))
    many, some, others = ended_by(0.1, 100), ended_by(0.3, 50), ended_by(0.4, 50)
    assert tqdm.look(look_at(done=100, left=900, ended=[many])) == pytest.approx(900 * 0.1 / 100)
    assert tqdm.look(look_at(done=150, left=850, ended=[some])) == pytest.approx(850 * 0.1 / 100)
    answer = tqdm.look(look_at(done=200, left=800, ended=[others]))
    assert answer == pytest.approx(800 * (0.3 * 0.3 + 0.7 * 0.3 * 0.1) / (0.3 * 100 + 0.7 * 0.3 * 100))


def test_tqdm_waits_for_ten_seconds_at_most():
    """Then one item is an update, however many it was before."""
    tqdm = peers.Tqdm(run_of(*[1.0] * 1000))
    looks = [look_at(done=101, left=899, ended=[ended_by(0.1, 100), ended_by(12.1, 1)])]
    looks += [look_at(done=102, left=898, ended=[ended_by(13.1, 1)])]
    seconds = items = 0.0
    for look, updates in zip(looks, [[(0.1, 100), (12.0, 1)], [(1.0, 1)]], strict=True):
        for passed, size in updates:
            seconds, items = 0.7 * seconds + 0.3 * passed, 0.7 * items + 0.3 * size
        assert tqdm.look(look) == pytest.approx(look.left * seconds / items)


def test_gnu_parallel_by_hand():
    """The clock starts at the first end, when the average is still zero; then it is smoothed."""
    parallel = peers.GnuParallel(run_of(*[1.0] * 10))
    assert parallel.look(look_at(done=0, left=10)) is None
    assert parallel.look(look_at(elapsed=2.0, done=1, left=9, ended=[at(2.0, 0)])) == 0.0
    # 4 s since then for two ends: an average of 2 s, and nothing was smoothed before
    assert parallel.look(look_at(elapsed=6.0, done=2, left=8, ended=[at(6.0, 1)])) == pytest.approx(16.0)
    # what rises by less than a tenth stays as it was
    assert parallel.look(look_at(elapsed=6.2, done=2, left=8)) == pytest.approx(16.0)
    # 6 s on average now; three tenths are done, so that it counts three tenths
    answer = parallel.look(look_at(elapsed=20.0, done=3, left=7, ended=[at(20.0, 2)]))
    smoothed = 0.8 * 2.0 + 0.2 * 2.1  # when somebody looked in between
    for _ in ("it ends", "somebody looks"):
        smoothed = 0.7 * smoothed + 0.3 * 6.0
    assert answer == pytest.approx(7 * smoothed)


def test_brian_by_hand():
    """Four of ten, and two halves that run: five of ten in ten seconds."""
    brian = peers.Brian(run_of(*[1.0] * 10))
    running = [OnIt(4, 1.0, False, 0.5, 0.9), OnIt(5, 1.0, False, 0.5, 0.9)]
    assert brian.look(look_at(running=running)) == pytest.approx(10.0)
    assert brian.look(look_at(done=0, left=10)) is None
    resumed = peers.Brian(run_of(*[1.0] * 15, skipped=frozenset(range(5))))
    assert resumed.look(look_at(running=running)) == pytest.approx(10.0)


def test_gnu_parallel_counts_what_it_skips_from_the_beginning():
    """Five were skipped and one has ended in six seconds: one a second, as it sees it."""
    parallel = peers.GnuParallel(run_of(*[1.0] * 10, skipped=frozenset(range(5))))
    assert parallel.look(look_at(elapsed=6.0, done=1, left=4, ended=[at(6.0, 5)])) == pytest.approx(4.0)


def test_farmhand_is_told_what_a_farm_would_tell(monkeypatch):
    """In the order in which it happened: a sleep before what ended after it."""
    told = []

    class Listening:
        def __getattr__(self, name):
            return lambda *arguments, **options: told.append((name, arguments, options))

    monkeypatch.setattr(peers, "Estimator", Listening)
    trace = run_of(*[1.0] * 10, skipped=frozenset({0}), earlier={0: 3.0})
    farmhand = peers.Farmhand(trace)
    sleep = Sleep(8.0, 5.0, (3,))
    running = [OnIt(4, 1.5, True, 0.4, 0.5, 1.0, left=7.0)]
    farmhand.look(
        look_at(ended=[at(2.0, 1, 2), at(9.0, 3)], slept=sleep, spent=4.0, running=running, processes=3)
    )
    assert [name for name, _, _ in told] == ["learn", "ended", "slept", "ended", "spent", "remaining"]
    assert told[0][1] == ([0], [3.0])
    assert told[1][1:] == (((1, 2), [1.0, 1.0]), {"first": False, "again": False})
    assert told[2][1] == (5.0, (3,))
    left, processes, (item,) = told[-1][1]
    assert (left, processes, told[-1][2]) == (6, 3, {"total": 10})
    assert (item.index, item.elapsed, item.complete, item.rest, item.first) == (4, 1.5, 0.5, 1.0, True)


def test_farmhand_counts_down_while_the_computer_is_awake():
    """A second later a second less is left, whether it slept in between or not."""
    farmhand = peers.Farmhand(run_of(*[1.0] * 20))
    running = [OnIt(index, 0.5, False) for index in (4, 5)]
    before = farmhand.look(
        look_at(elapsed=2.5, done=4, left=16, running=running, ended=[at(1.0, 0, 1), at(2.0, 2, 3)])
    )
    running = [OnIt(index, 2.5, False) for index in (4, 5)]
    sleep = Sleep(4.6, 2.0, (4, 5))
    after = farmhand.look(look_at(elapsed=4.6, done=4, left=16, running=running, slept=sleep))
    assert after == pytest.approx([each - 0.1 for each in before])


def test_who_knows_all_durations_is_better_than_everybody_else():
    """Otherwise an error would be one of the evaluation."""
    rows = [row for seed in range(6) for row in eta.play(exponential(seed), list(peers.CONTENDERS))]
    errors = {name: eta.error(row for row in rows if row.contender == name) for name in peers.CONTENDERS}
    assert min(errors, key=errors.get) == "oracle"
    assert errors["oracle"] < math.log(1.1)


def test_who_knows_the_family_is_right_four_times_out_of_five():
    """So the replay is fair: an interval that is right in theory is right in the evaluation."""
    rows = [row for seed in range(60) for row in eta.play(exponential(seed, 30), ["expert"], eta.QUICK)]
    assert 0.72 <= eta.coverage(rows) <= 0.88


# -- the traces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("few", [True, False])
def test_what_is_tuned_on_is_not_reported_on(few):
    """Neither a family nor a duration nor a name is in both parts, nor a seed."""
    assert not set(families.SEEDS["tune"]) & set(families.SEEDS["report"])
    tune, report = ([*families.all_traces(split, few=few)] for split in families.SPLITS)
    assert not {trace.name for trace in tune} & {trace.name for trace in report}
    assert not {trace.family for trace in tune} & {trace.family for trace in report} - {""}
    assert not {each for trace in tune for each in trace.seconds[:20]} & {
        each for trace in report if not trace.group.startswith("recorded") for each in trace.seconds[:20]
    }
    made_up = [{trace.group for trace in some if "recorded" not in trace.group} for some in (tune, report)]
    assert made_up[0] == made_up[1]
    assert len({trace.name for trace in (*tune, *report)}) == len([*tune, *report])


def test_traces_are_the_same_each_time():
    """They depend on their seeds alone."""
    assert [*families.made("tune")] == [*families.made("tune")]


def recorded(folder, **changes):
    facts = {
        "name": "sorting",
        "group": "numpy",
        "split": "tune",
        "about": "Sorting.",
        "processes": 2,
        "seconds": [5.0, 6.0, 1.0, 1.1, 0.9, 1.0],
        "first": [0, 1],
    }
    path = folder / "sorting.json"
    path.write_text(json.dumps({key: value for key, value in (facts | changes).items() if value is not None}))
    return path


def test_a_recorded_run_is_replayed_as_it_was_and_with_more_processes(tmp_path):
    """What its first items took longer is then what the first ones take longer that are first now."""
    recorded(tmp_path, fractions={"at": [0.5, 1.0], "complete": [0.4, 1.0]})
    as_it_was, more = families.recorded("tune", tmp_path)
    assert (as_it_was.group, as_it_was.processes, as_it_was.start_up) == ("recorded: numpy", 2, 0.0)
    assert as_it_was.course(0.25) == pytest.approx(0.2)
    assert (more.processes, more.start_up) == (8, 4.0)
    assert more.seconds == (1.0, 2.0, 1.0, 1.1, 0.9, 1.0)
    assert [*families.recorded("report", tmp_path)] == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"seconds": None}, "'seconds' is missing"),
        ({"seconds": [1.0, -1.0]}, "none negative"),
        ({"seconds": [1.0, math.nan]}, "none negative"),
        ({"seconds": [1.0, "soon"]}, "'soon'"),
        ({"seconds": []}, "at least two"),
        ({"seconds": 7}, "is no trace"),
        ({"split": "both"}, "'both'"),
        ({"processes": 0}, "'processes' is 0"),
        ({"first": [77]}, "'first'"),
        ({"retried": [[6, 1.0]]}, "'retried'"),
        ({"retried": [[5, -1.0]]}, "'retried'"),
        ({"retried": [5]}, "is no trace"),
        ({"fractions": {"at": [0.1, 1.0], "complete": [0.5]}}, "'fractions'"),
        ({"fractions": {"at": [0.1], "complete": [1.5]}}, "'fractions'"),
        ({"fractions": {"at": [0.1]}}, "'complete' is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nonsense_in_a_file_is_an_error_that_names_it(tmp_path, changes, complaint):
    """Rather than a row of the table that nobody can explain."""
    recorded(tmp_path, **changes)
    with pytest.raises(BadTrace, match="sorting") as caught:
        [*families.recorded("tune", tmp_path)]
    assert complaint in str(caught.value)


def test_a_file_that_is_no_json_is_named(tmp_path):
    """A list is JSON, and no trace either."""
    for text in ("{", "[1, 2]"):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(BadTrace, match="broken"):
            families.read(tmp_path / "broken.json")


# -- what is made of the answers ---------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, math.inf, math.nan, (0.0, math.inf, math.inf)])
def test_silence_is_as_bad_as_it_gets_and_counted(answer):
    """Or the best would be who says nothing."""
    row = eta.score(run_of(1, 1), "somebody", 0.5, 10.0, answer)
    assert row.silent
    assert (row.error, row.inside) == (math.log(10), None)


def test_an_error_is_the_same_in_both_directions_and_has_an_end():
    """Twice as much is as wrong as half as much; beyond ten times it does not matter any more."""

    def error(answer):
        return eta.score(run_of(1, 1), "somebody", 0.5, 10.0, answer).error

    assert error(10.0) == 0.0
    assert error(20.0) == error(5.0) == pytest.approx(math.log(2))
    assert error(1e9) == error(0.0) == error(-1.0) == math.log(10)


def test_an_interval_holds_the_truth_or_not():
    """Its ends included; one number is no interval."""

    def inside(*answer):
        return eta.score(run_of(1, 1), "somebody", 0.5, 10.0, answer).inside

    assert inside(5.0, 7.0, 10.0)
    assert not inside(5.0, 7.0, 9.0)
    assert eta.score(run_of(1, 1), "somebody", 0.5, 10.0, 7.0).inside is None


def rows_of(group, contender, *answers, at=0.1):
    trace = run_of(1, 1, group=group)
    return [eta.score(trace, contender, at, 10.0, answer) for answer in answers]


def test_aims_are_met_or_missed_or_not_measured():
    """Half of the error of elapsed/done; on uniform runs a tenth more at most."""
    rows = [
        *rows_of("trended", "farmhand", (9.0, 11.0, 12.0), (4.0, 11.0, 12.0)),
        *rows_of("trended", "elapsed/done", 20.0, 20.0),
        *rows_of("uniform", "farmhand", (10.5, 12.0, 13.0), (9.0, 12.0, 13.0)),
        *rows_of("uniform", "elapsed/done", 11.0, 11.0),
    ]
    found = {str(aim).split(":")[1].strip(): str(aim).split(":")[0] for aim in eta.aims(rows)}
    assert found["trended"] == "met"
    assert found["uniform"] == "missed"
    assert found["mixed"] == "not measured"
    assert str(eta.aims(rows)[0]).startswith("met: the 80 % interval")
    assert str(eta.aims(rows)[0]).endswith("0.75")


def test_an_aim_is_shown_beside_what_an_expert_reaches():
    """Where the expert misses it nobody could meet it."""
    rows = [
        *rows_of("trended", "farmhand", (9.0, 11.0, 12.0)),
        *rows_of("trended", "elapsed/done", 100.0),
        *rows_of("trended", "expert", (9.0, 10.0, 11.0)),
    ]
    assert "elapsed/done: 0.04 (the expert: 0.00)" in str(eta.aims(rows)[2])


def test_a_small_evaluation_asks_everybody_at_every_checkpoint():
    """With one process and with several, which come to the same."""
    traces = [exponential(seed, 20) for seed in (1, 2)]
    rows = eta.evaluate(traces=traces, quick=True, jobs=1)
    assert len(rows) == 2 * len(peers.CONTENDERS) * len(CHECKPOINTS)
    assert {row.at for row in rows} == set(CHECKPOINTS)
    short = eta.report("tune", rows)
    everything = eta.report("tune", rows, verbose=True, each=True)
    for name in peers.CONTENDERS:
        assert (name in short.partition("Aims")[0]) == (name not in ("oracle", "expert"))
        assert name in everything
    assert "exponential, 2" in everything
    assert "exponential, 2" not in eta.report("tune", rows, verbose=True)
    assert max(map(len, eta.report("tune", rows, verbose=True).splitlines())) <= 120


def test_the_short_table_has_both_errors_and_what_was_in_range():
    """Its numbers are those of the rows; one group has no total, two have."""
    rows = [
        *rows_of("uniform", "farmhand", (9.0, 11.0, 12.0), (10.5, 11.0, 12.0)),
        *rows_of("uniform", "farmhand", (4.0, 5.0, 20.0), at=0.5),
        *rows_of("uniform", "tqdm", None),
        *rows_of("uniform", "tqdm", 12.5, at=0.5),
        *rows_of("uniform", "expert", (9.0, 11.0, 12.0)),
    ]
    heading, _, line, *totals = eta.short_table(rows).splitlines()
    assert [cell.strip() for cell in heading.split("|")[1:-1]] == [
        "error at 10% and 50%",
        "farmhand",
        "tqdm",
        "in range",
    ]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["uniform", "1.10, 2.00", "10, 1.25", "67%"]
    assert totals == []
    more = eta.short_table(rows + rows_of("recorded: numpy", "farmhand", (9.0, 11.0, 12.0))).splitlines()
    assert [line.split("|")[1].strip() for line in more[2:]] == ["uniform", "recorded: numpy", "all"]


def command_line(*arguments):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=100,
    )


def test_the_command_line_prints_the_table_and_keeps_the_answers(tmp_path):
    """A line for each group and for all, what was aimed at, and what the columns mean."""
    file = tmp_path / "answers.json"
    ran = command_line(
        "--quick", "--group", "uniform", "--group", "trended", "--only", "farmhand", "--json", file
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    tune, report = ran.stdout.index("Traces to tune on"), ran.stdout.index("Traces never tuned on")
    assert tune < report
    assert "| trended " in ran.stdout
    assert "not measured: mixed" in ran.stdout
    rows = json.loads(file.read_text())["rows"]
    assert {row["split"] for row in rows} == {"tune", "report"}
    assert {row["contender"] for row in rows} == {"farmhand"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--group", "tended"], "there is no 'tended'; choose from: blocks, "),
        (["--only", "nobody"], "--only: invalid choice: 'nobody'"),
        (["--jobs", "0"], "--jobs: 0 is less than one process"),
        (["--json", str(PROGRAM / "x.json")], "--json: "),
    ],
)
def test_a_mistake_in_the_call_is_explained_in_a_line(arguments, complaint):
    """It names the culprit, and there is no stack trace."""
    ran = command_line(*arguments)
    assert ran.returncode == 2
    assert complaint in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
