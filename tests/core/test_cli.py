"""The command line: what a user types, reads and gets back as an exit status."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farm_tasks import FAST, square, square_unless_odd
from farmhand import Usage, call, codec, open_store, run_tasks
from farmhand.events import ItemError, RecordDone, RecordFailed
from farmhand.seeds import item_seed
from farmhand.store import Turn
from farmhand.testing.stores import a_run, block, done, failed
from farmhand.values import replace
from waiting import DEADLINE

pytest.importorskip("farmhand_sqlite", reason="the command line needs a store that stays")

READING = ["status", "runs", "ls", "failures", "check"]


def echo(k, mode="quiet"):
    print("k is", k)
    return {"k": k, "mode": mode}


@pytest.fixture(scope="module")
def rates(tmp_path_factory):
    """A store of two runs, one with failures; nobody writes into it."""
    path = tmp_path_factory.mktemp("cli") / "rates.db"
    with open_store(path) as store:
        run_tasks(store, square_unless_odd, range(10), errors="collect", retries=1, **FAST)
        run_tasks(store, echo, [1, 2.5, call(3, mode="loud"), {4}], **FAST)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.db"


@pytest.fixture
def lines(farmhand):
    """The JSON that a command prints, line by line."""

    def type_it(*words):
        _, out, err = farmhand(*words, "--json")
        assert err == ""
        return [json.loads(line) for line in out.splitlines()]

    return type_it


def module(*words, **options):
    """The command in a process of its own, as ``python -m farmhand``."""
    command = [sys.executable, "-m", "farmhand", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, **options)


def table(out):
    """The rows of a table, as their words."""
    return [re.split("  +", line.strip()) for line in out.splitlines()]


# -- status and runs ------------------------------------------------------------------------


def test_status_says_what_there_is(farmhand, rates):
    """One line that sums it up, and one for each run."""
    status, out, _ = farmhand("status", rates)
    head, _, *rows = out.splitlines()
    assert status == 0
    assert head == f"{rates}: 9 results, 5 failed items, 2 runs"
    titles, first, second = table("\n".join(rows))
    assert titles == ["RUN", "TASK", "STATE", "STARTED", "TOOK", "DONE", "FAILED", "TOTAL"]
    assert first[1:3] + first[5:] == ["square_unless_odd", "finished", "5", "5", "10"]
    assert second[1:3] + second[5:] == ["echo", "finished", "4", "0", "4"]


def test_status_as_json(lines, rates):
    """One object, with times in seconds since the epoch."""
    [told] = lines("status", rates)
    assert told["store"] == str(rates)
    assert told["results"] == 9
    first, second = told["runs"]
    counts = [first[name] for name in ("total", "done", "failed", "retried", "left", "state")]
    assert counts == [10, 5, 5, 5, 0, "finished"]
    assert first["ended"] == first["last"]
    assert second["parameters"] == ["k", "mode"]


def dead_owner():
    """The name of a process of this computer that has ended."""
    code = "from farmhand import owner; print(owner.here())"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_run_that_has_not_ended_is_told_in_a_sentence(farmhand, lines, a_store):
    """Whether it runs, was killed, or nobody here can know; how far it is; when something came last."""
    now = time.time()
    ended = replace(done([0, 1], "AB").done, started=now - 7000, seconds=[60.0, 60.0])
    finished = Turn([block(range(2), "ab")], [RecordDone(ended)])
    about = {"started": now - 7000, "numitems": 8}
    a_store(finished, outcome="", uid="aaaaaaaa", **about)
    a_store(finished, outcome="", uid="bbbbbbbb", owner=dead_owner(), **about)
    path = a_store(finished, outcome="", uid="cccccccc", owner="", computer="me.elsewhere", **about)
    status, out, _ = farmhand("status", path)
    assert status == 0
    assert [run["state"] for run in lines("status", path)[0]["runs"]] == ["running", "killed", "unknown"]
    assert [run["left"] for run in lines("runs", path)] == [6, 6, 6]
    running, killed, unknown = out.splitlines()[-3:]
    assert f"aaaaaa (find_rate) runs in process {os.getpid()}: 2 of 8 items have ended" in running
    for cannot_be_asked in (running, unknown):
        # as of then: nobody knows whether it was suspended, or killed, since
        assert re.search(r" ago, with [4-9-]+ min left then\.$", cannot_be_asked)
    assert "bbbbbb (find_rate) was killed: 2 of 8 items have ended" in killed
    assert "resume=True" in killed
    assert "cccccc (find_rate) runs on elsewhere, or was killed there" in unknown


def test_one_run_is_told_with_its_origin(farmhand, lines, rates):
    """Who, where, with which command and which packages: all that was written down."""
    _, echoed = lines("runs", rates)
    status, out, _ = farmhand("runs", rates, echoed["run"][:6])
    told = {words[0]: words[1] for words in table(out)}
    assert status == 0
    assert told["run"] == echoed["run"]
    assert told["task"] == "echo(k, mode)"
    assert told["packages"].startswith("farmhand ") or ", farmhand " in told["packages"]
    assert told["folder"] == echoed["provenance"]["folder"] == os.getcwd()


def test_of_many_runs_status_shows_the_latest(farmhand, path):
    """They are the ones that somebody wants to know of; it says where the others are."""
    with open_store(path) as store:
        for number in range(25):
            store.begin(a_run(uid=f"{number:08}", started=float(number))).close("finished", number + 0.5)
    _, out, _ = farmhand("status", path)
    assert [row[0] for row in table(out)[3:13]] == [f"{number:08}" for number in range(15, 25)]
    assert out.splitlines()[-1] == f"... and 15 earlier runs: farmhand runs {path}"
    _, out, _ = farmhand("runs", path)
    assert len(out.splitlines()) == 26


# -- ls ------------------------------------------------------------------------


def test_ls_shows_how_each_item_ended(farmhand, rates):
    """Items of several runs go by a name that other commands take, and that fits into a table."""
    status, out, _ = farmhand("ls", rates)
    titles, *rows = table(out)
    assert status == 0
    assert titles[:2] == ["ITEM", "STATUS"]
    assert len(rows) == 14
    assert all(re.fullmatch(r"[0-9a-f]{6,}-\d", row[0]) for row in rows)
    assert [row[1] for row in rows[:10]] == ["done", "failed"] * 5
    assert rows[1][-1] == "ValueError: 1 is odd"
    status, out, _ = farmhand("show", rates, rows[1][0])
    assert status == 0
    assert "ValueError: 1 is odd" in out


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--status", "failed"], 5),
        (["--task", "echo"], 4),
        (["--task", "echo", "--status", "failed"], 0),
        (["--limit", "3"], 3),
        (["--slowest", "2"], 2),
    ],
)
def test_ls_shows_what_is_asked_for(lines, rates, words, count):
    """By status, by task, the first, the slowest."""
    records = [line for line in lines("ls", rates, *words) if "key" in line]
    assert len(records) == count
    if words[0] == "--slowest":
        seconds = [line["seconds"] for line in lines("ls", rates) if "key" in line]
        assert [record["seconds"] for record in records] == sorted(seconds)[:-3:-1]


def test_ls_goes_on_where_it_was(lines, a_store):
    """A program that watches a store reads each item once."""
    path = a_store(Turn([block(range(9), "abcdefghi")], [done([0], "A")]), uid="run", outcome="")
    *records, last = lines("ls", path)
    assert [record["key"] for record in records] == ["run-0"]
    with open_store(path) as store:
        session = store.begin(store.runs()[0], join=True)
        session.record(Turn([], [done([3], "D")], [failed(1)]))
        session.close("", None)
    *records, last = lines("ls", path, "--since", last["cursor"])
    assert [record["key"] for record in records] == ["run-1", "run-3"]
    assert lines("ls", path, "--since", last["cursor"])[:-1] == []


def test_a_list_that_was_cut_has_no_cursor(lines, rates):
    """Who goes on after it would miss what was left out."""
    assert "cursor" in lines("ls", rates)[-1]
    assert "cursor" not in lines("ls", rates, "--limit", "3")[-1]


# -- failures, show ------------------------------------------------------------------------


def test_failures_are_shown_with_their_arguments_and_counted(farmhand, rates):
    """Exit status 1, so that a script can ask for it."""
    status, out, _ = farmhand("failures", rates)
    titles, *rows, _, summary = table(out)
    assert status == 1
    assert titles[:3] == ["ITEM", "ARGUMENTS", "ERROR"]
    assert [row[1:4] for row in rows] == [[f"x={k}", f"ValueError: {k} is odd", "2"] for k in (1, 3, 5, 7, 9)]
    assert summary == ["5 items failed: 5 ValueError"]
    status, out, _ = farmhand("failures", rates, "--traceback")
    assert status == 1
    assert out.count('raise ValueError(f"{x} is odd")') == 5


def test_without_failures_all_is_well(farmhand, a_store):
    """Exit status 0."""
    path = a_store(Turn([block([0], "a")], [done([0], "A")]))
    assert farmhand("failures", path) == (0, "no item has failed\n", "")
    assert farmhand("failures", path, "--json") == (0, "", "")


def test_arguments_are_told_without_unpickling(farmhand, a_store):
    """Plain values, numbers of numpy and calls are; of anything else nothing is said."""
    np = pytest.importorskip("numpy")
    items = [
        1,
        (2, "b"),
        call(3, mode="x"),
        np.float64(0.5),
        np.float32(0.5),
        np.int16(-7),
        np.bool_(True),
        {1},
    ]
    items += [np.array([1]), np.datetime64("2020-01-01"), Path("x")]
    encoded = codec.encode_each([codec.encode(item) for item in items])
    blocks = [
        block(range(3), items[:3]),
        block([5], [np.float64(1.5)]),
        block([7], [Path("y")]),
        type(block([0], [0]))(range(20, 31), encoded),
        type(block([0], [0]))([40], None, texts=["a large one"], fingerprints=[bytes(16)]),
    ]
    ends = [failed(index) for index in [0, 1, 2, 5, 7, *range(20, 31), 40]]
    path = a_store(Turn(blocks, [], ends), parameters=("k", "mode"))
    _, out, _ = farmhand("failures", path, "--json")
    assert [json.loads(line)["arguments"] for line in out.splitlines()] == [
        *("k=1", "k=2, mode='b'", "k=3, mode='x'", "k=1.5", None),
        *("k=1", "k=2, mode='b'", "k=3, mode='x'", "k=0.5", "k=0.5", "k=-7", "k=True", "k={1}"),
        *(None, None, None, "a large one"),
    ]


def test_show_tells_everything_of_an_item(farmhand, lines, a_store):
    """How it ended, each attempt before with its traceback, what each of them printed."""
    again = failed(7, "first", usage=Usage(None, "trying\n"), again=True)
    last = failed(7, "second", process=3, attempts=2, usage=Usage(5_000_000, "trying harder\n"))
    path = a_store(
        Turn([block([7], [(1, 2)])], [], [again, last]), uid="run", parameters=("a", "b"), numitems=9, seed=3
    )
    status, out, _ = farmhand("show", path, 7)
    told = {words[0]: words[-1] for words in table(out) if len(words) == 2}
    assert status == 0
    assert told["key"] == "run-7"
    assert told["arguments"] == "a=1, b=2"
    assert told["seed"] == str(item_seed(3, 7))
    assert [told[name] for name in ("status", "attempts", "process", "memory")] == [
        "failed",
        "2",
        "3",
        "5.0 MB",
    ]
    places = [out.index(text) for text in ("ValueError: first", "trying\n", "Traceback:", "trying harder\n")]
    assert places == sorted(places)
    [told] = lines("show", path, "run-7")
    assert told["error"]["traceback"].endswith("ValueError: second\n")
    assert told["seed"] == item_seed(3, 7)
    assert [(each["attempts"], each["output"]) for each in told["retried"]] == [(1, "trying\n")]


def test_show_tells_a_plain_result_and_decodes_others_when_told_to(farmhand, rates):
    """What is not plain may run code."""
    names = [row[0] for row in table(farmhand("ls", rates, "--task", "echo")[1])[1:]]
    assert "{'k': 2.5, 'mode': 'quiet'}" in farmhand("show", rates, names[1])[1]
    assert "k=3, mode='loud'" in farmhand("show", rates, names[2])[1]
    assert "k is 3" in farmhand("show", rates, names[2])[1]


def test_show_value_runs_what_is_stored(farmhand, a_store, tmp_path):
    """With --value alone: it says so in its help."""
    path = a_store(Turn([block([0], [Trace(tmp_path / "item")])], [done([0], [Trace(tmp_path / "result")])]))
    _, out, _ = farmhand("show", path, 0)
    assert "--value decodes" in out
    assert not list(tmp_path.glob("*.trace"))
    assert farmhand("show", path, 0, "--value")[0] == 0
    assert {each.name for each in tmp_path.glob("*.trace")} == {"item.trace", "result.trace"}
    assert "only for a store that you trust" in " ".join(farmhand("show", "--help")[1].split())


class Trace:
    """A value that leaves a file when it is made again."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return leave, (str(self.path),)


def leave(path):
    Path(path + ".trace").touch()


def test_nothing_but_values_needs_unpickling(farmhand, a_store, tmp_path, path):
    """A store of which nobody knows where it comes from can be looked at, checked, merged, cleared."""
    trace = Trace(tmp_path / "x")
    turn = Turn(
        [block(range(2), [trace, trace]), block([2], [2])],
        [done([0, 2], [[trace], trace])],
        [failed(1)],
        shipped=[codec.encode(trace)],
        provenance={"user": "somebody"},
    )
    a_store(turn, uid="run")
    for words in [
        *([name, path] for name in READING),
        ["show", path, "run-0"],
        ["failures", path, "--traceback"],
    ]:
        assert farmhand(*words)[0] in (0, 1)
        assert farmhand(*words[:2], *words[2:3], "--json")[0] in (0, 1)
    assert farmhand("merge", path, tmp_path / "other.db")[0] == 0
    assert farmhand("forget", path, "run-0")[0] == 0
    assert farmhand("vacuum", path)[0] == 0
    assert not list(tmp_path.glob("*.trace"))


# -- which item, which run, which store ---------------------------------------------------------------------


def test_an_index_alone_names_the_item_of_the_one_run(farmhand, a_store):
    """Who has one run does not want to copy its name."""
    path = a_store(Turn([block([0], "a")], [done([0], "A")]), uid="abcdefgh", numitems=1)
    for item in ("0", "a-0", "abcdefgh-0"):
        assert farmhand("show", path, item)[0] == 0
    a_store(Turn([block([0], "b")], [done([0], "B")]), uid="abxyzxyz", numitems=1)
    status, _, err = farmhand("show", path, "0")
    assert status == 2
    assert err == "farmhand: there are 2 runs: say which item 0 is meant, as in abcdef-0, abxyzx-0\n"
    assert farmhand("show", path, "0", "--run", "abx")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "{}", "x"], "'x' is no item: give its key, RUN-INDEX, or its index"),
        (["show", "{}", "-1"], None),
        (["show", "{}", "zz-1"], r"there is no run 'zz'; there are \w+ \(square_unless_odd, finished, "),
        (["show", "{}", "77"], "none of the 2 runs has an item 77"),
        (["runs", "{}", "zz"], "there is no run 'zz'"),
        (["runs", "{}", ""], "several runs begin with ''|there is no run ''"),
        (["ls", "{}", "--task", "eco"], "no run has the task 'eco'; there are: square_unless_odd, echo"),
        (["ls", "{}", "--since", "yesterday"], "cursor"),
        (["ls", "{}", "--limit", "no"], "'no' is no number of items"),
        (["ls", "{}", "--status", "dune"], "choose from"),
        (["sttus", "{}"], "invalid choice: 'sttus'"),
        (["status"], "STORE"),
        ([], "COMMAND"),
        (["merge", "{}"], "TARGET"),
        (["merge", "{}", "{}"], "cannot be merged into itself; name two stores"),
        (["merge", "{}", ":memory:"], "a store within one program"),
        (["show", "{}", "77", "--run", "RUN"], r"run \w+ has no item 77: it has 10 items"),
        (["rerun", "{}", "77"], "none of the 2 runs has an item 77"),
        (["forget", "{}", "zz-1"], "there is no run 'zz'"),
        (["status", ":memory:"], "name a file or a folder"),
        (["status", ""], "there is no store ''"),
    ],
)
def test_a_mistake_is_an_error_that_says_what_to_write(farmhand, rates, words, said):
    """In one line on stderr, with exit status 2, and without a trace of the stack."""
    if "RUN" in words:
        words = [*words[:-1], json.loads(farmhand("runs", rates, "--json")[1].splitlines()[0])["run"]]
    status, out, err = farmhand(*(word.format(rates) for word in words))
    assert (status, out) == (2, "")
    assert re.search(said or "", err)
    assert "farmhand" in err


@pytest.mark.parametrize("command", [*READING, "show", "rerun", "forget", "vacuum", "merge", "export"])
def test_no_command_makes_a_store_that_is_not_there(farmhand, tmp_path, rates, command):
    """A path that was mistyped is an error, which names what is near, and leaves nothing behind."""
    (tmp_path / "rates.db").write_bytes(rates.read_bytes())
    words = {"show": ["0"], "rerun": ["0"], "forget": ["0"], "merge": [tmp_path / "new.db"]}.get(command, [])
    status, out, err = farmhand(command, tmp_path / "raets.db", *words)
    assert (status, out) == (2, "")
    assert err == (
        f"farmhand: there is no store '{tmp_path / 'raets.db'}'; there is: {tmp_path / 'rates.db'}\n"
    )
    assert os.listdir(tmp_path) == ["rates.db"]


@pytest.mark.parametrize(
    ("name", "contents", "said"),
    [
        ("empty.db", b"", "is an empty file, and no store yet"),
        ("text.db", b"no database, but more than a hundred bytes of text" * 10, "text.db: "),
        ("text.txt", b"text", "no store for the ending is called '.txt'; known: "),
    ],
)
def test_what_is_no_store_is_left_as_it_is(farmhand, tmp_path, name, contents, said):
    """It may be anything that is dear to somebody."""
    (tmp_path / name).write_bytes(contents)
    for command in (["status"], ["vacuum"], ["merge", tmp_path / name]):
        status, out, err = farmhand(*command, tmp_path / name)
        assert (status, out) == (2, "")
        assert said in err or "cannot be merged into itself" in err
        assert (tmp_path / name).read_bytes() == contents
    assert os.listdir(tmp_path) == [name]


def test_the_ending_of_a_store_may_have_been_forgotten(farmhand, tmp_path, rates):
    """Then it is the store of that name which was meant."""
    for name in ("a.db", "rates.db", "rate.db"):
        (tmp_path / name).write_bytes(rates.read_bytes())
    assert farmhand("status", tmp_path / "rates")[2].endswith(f"; there is: {tmp_path / 'rates.db'}\n")
    assert farmhand("status", tmp_path / "zzz")[2].count(".db") == 3


def test_a_folder_that_is_not_there_is_named(farmhand, tmp_path):
    """It is the folder that was mistyped, not the store."""
    status, _, err = farmhand("status", tmp_path / "resluts" / "rates.db")
    assert status == 2
    assert f"there is no folder '{tmp_path / 'resluts'}'" in err


# -- check, merge, forget, vacuum ------------------------------------------------------------------------


def test_check_finds_a_file_that_is_missing(farmhand, path):
    """Exit status 1 and each problem on its line; 0 when all is well."""
    with open_store(path) as store:
        if store.files is None:
            pytest.skip("this store has no results in files")
        run_tasks(store, os.urandom, [3_000_000, 10], **FAST)
    assert farmhand("check", path) == (0, f"{path}: all is well (2 results)\n", "")
    [file] = [each for each in path.parent.rglob("0-*") if each.is_file()]
    file.unlink()
    status, out, _ = farmhand("check", path)
    assert status == 1
    assert str(file) in out.splitlines()[0]
    assert out.splitlines()[1:] == [f"{path}: 1 problem"]
    status, out, _ = farmhand("check", path, "--json")
    assert (status, len(json.loads(out)["problems"])) == (1, 1)


def test_merge_adds_to_the_last_store(farmhand, lines, rates, tmp_path, a_store, path):
    """As with cp, the last one grows; it is made when it is not there."""
    a_store(Turn([block([0], "a")], [done([0], "A")]))
    all_of_it = tmp_path / "all.db"
    status, out, _ = farmhand("merge", rates, path, all_of_it)
    assert status == 0
    assert out.splitlines() == [
        f"{rates} -> {all_of_it}: 2 runs, 9 results, 5 failed",
        f"{path} -> {all_of_it}: 1 run, 1 result",
    ]
    _, out, _ = farmhand("merge", rates, all_of_it)
    assert out == f"{rates} -> {all_of_it}: nothing new\n"
    before, after = lines("ls", rates)[:-1], lines("ls", all_of_it)[:-1]
    assert [record for record in after if record in before] == before
    assert len(after) == len(before) + 1


def test_merge_tells_of_pairs_that_both_have(farmhand, tmp_path):
    """Nothing is lost without a word: the target keeps its own, and the exit status is 1."""
    paths = [tmp_path / "one.db", tmp_path / "two.db"]
    for number, path in enumerate(paths):
        with open_store(path) as store:
            try:
                store.session("counts")["runs"] = number
            except Exception:
                pytest.skip("this store has no sessions by hand")
    status, out, _ = farmhand("merge", *paths)
    assert status == 1
    assert "    runs in session counts" in out.splitlines()
    with open_store(paths[1]) as store:
        assert store.get("runs") == {"counts": 1}


def test_a_source_that_cannot_be_read_leaves_no_target(farmhand, tmp_path, rates):
    """The target is made when all sources are open."""
    (tmp_path / "bad.db").write_bytes(b"no database" * 100)
    assert farmhand("merge", rates, tmp_path / "bad.db", tmp_path / "new.db")[0] == 2
    assert os.listdir(tmp_path) == ["bad.db"]


def test_what_was_forgotten_runs_again(farmhand, path):
    """By the names that `ls` shows."""
    with open_store(path) as store:
        run_tasks(store, square, range(4), **FAST)
    assert farmhand("forget", path, "1", "3")[1] == f"{path}: 2 items forgotten\n"
    assert farmhand("forget", path, "1")[1].startswith(f"{path}: 0 items forgotten\n  1 had not ended")
    with open_store(path) as store:
        assert run_tasks(store, square, range(4), resume=True, **FAST).done == 2


def test_vacuum_says_what_it_has_given_back(farmhand, path):
    """In bytes for programs."""
    with open_store(path) as store:
        run_tasks(store, os.urandom, [200_000] * 10, **FAST)
    farmhand("forget", path, *range(9))
    status, out, _ = farmhand("vacuum", path, "--json")
    told = json.loads(out)
    assert status == 0
    assert 0 < told["after"] <= told["before"]
    assert farmhand("vacuum", path)[1].startswith(f"{path}: ")


# -- export ----------------------------------------------------------------------------------------------


def test_export_writes_a_table(farmhand, rates, tmp_path):
    """To standard output, or to a file whose ending says what kind it is."""
    status, out, err = farmhand("export", rates, "--task", "square_unless_odd")
    assert (status, err) == (0, "")
    assert out.splitlines() == ["x,result", "0,0", "2,4", "4,16", "6,36", "8,64"]
    file = tmp_path / "rates.jsonl"
    assert farmhand("export", rates, file, "--task", "square_unless_odd", "--failures") == (
        0,
        f"{file}: 10 rows\n",
        "",
    )
    assert json.loads(file.read_text().splitlines()[1])["x"] == 1
    run = json.loads(farmhand("runs", rates, "--json")[1].splitlines()[1])["run"]
    status, out, _ = farmhand("export", rates, "--run", run[:8], "--format", "jsonl", "--records")
    assert status == 0
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["done"] * 4


SCRIPT = """
from dataclasses import dataclass
from farmhand import run_tasks

@dataclass
class Point:
    x: int
    y: int

def mirror(point):
    return Point(point.y, point.x)

run_tasks("points.db", mirror, [Point(1, 2), Point(3, 4)], gui=False, progress="none")
"""


def test_classes_of_the_script_are_known(tmp_path):
    """They were stored with the run, so that its results can be shown and exported without the script."""
    subprocess.run([sys.executable, "-"], input=SCRIPT, text=True, cwd=tmp_path, check=True, timeout=DEADLINE)
    run = module("export", "points.db", "points.jsonl", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    rows = [json.loads(line) for line in (tmp_path / "points.jsonl").read_text().splitlines()]
    assert [(row["x"], row["y"]) for row in rows] == [(2, 1), (4, 3)]
    assert "Point(x=4, y=3)" in module("show", "points.db", "1", "--value", cwd=tmp_path).stdout


def test_values_that_cannot_be_decoded_are_an_error_in_words(farmhand, a_store):
    """Not a trace of the stack: the store is as it was written, but something is missing here."""
    gone = codec.encode(Trace("x")).replace(b"leave", b"leavx")
    end = done([0], "A")
    end = RecordDone(type(end.done)(0, [0], [gone], 1.0, [1.0]))
    path = a_store(Turn([block([0], "a")], [end]), uid="run")
    for words in (["show", path, "0", "--value"], ["export", path]):
        status, out, err = farmhand(*words)
        assert (status, out) == (2, "")
        assert err.startswith(f"farmhand: {path}: ")
        assert "leavx" in err
        assert "PYTHONPATH" in err


# -- terminals, pipes, signals ------------------------------------------------------------------------


def on_a_terminal(words, columns=80, **environment):
    """What a terminal of that width would show."""
    import pty

    code = "import fcntl, struct, sys, termios; from farmhand.cli import main\n"
    code += f"fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('4H', 24, {columns}, 0, 0))\n"
    code += "sys.exit(main(sys.argv[1:]))"
    ours, theirs = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**plain, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # the other end was closed
            break
        if not data:
            break
        shown += data
    os.close(ours)
    process.wait(DEADLINE)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 100, 250])
@pytest.mark.parametrize("command", [*READING, "ls"])
def test_tables_fit_the_terminal(a_store, command, columns):
    """Long names and errors are cut there, and nowhere else; wide letters count twice."""
    error = ItemError("raised", "ValueError", "\u4e2d\u6587 " * 60, "Traceback ...")
    failure = RecordFailed(3, error, 1, 1000.0, 2.0)
    turn = Turn([block([2, 3], ["x" * 200, "y" * 50])], [done([2], "A")], [failure])
    name = "a_task_with_a_name_that_is_longer_than_most_are" * 2
    path = a_store(turn, task=name, uid="0123456789abcdef", started=1000.0)
    # a run of some days: since 1970 would be a wider column, at some times of the day
    a_store(task="short", numitems=100, outcome="", uid="fedcba9876543210", started=time.time() - 400_000)
    shown = on_a_terminal([command, path], columns, NO_COLOR="1")
    widths = [sum(2 if letter > "\u2e80" else 1 for letter in line) for line in shown.splitlines()]
    tables = [width for line, width in zip(shown.splitlines(), widths, strict=True) if str(path) not in line]
    assert all(width <= columns for width in tables)
    assert ("..." in shown) == (command in ("ls", "failures") or (columns < 200 and command != "check"))


def test_colours_are_for_terminals_that_want_them(rates):
    """Neither for a file or a pipe, nor where NO_COLOR says so."""
    assert "\x1b[" in on_a_terminal(["ls", rates])
    assert "\x1b[" not in on_a_terminal(["ls", rates], NO_COLOR="1")
    assert "\x1b[" not in module("ls", rates).stdout


def test_names_and_errors_cannot_play_with_the_terminal(farmhand, a_store):
    """They come from other people's code: no escapes, no line breaks in tables, no half surrogates."""
    evil = "\x1b[31mred\nnext\u202e\udcff"
    error = ItemError("raised", evil, evil, evil)
    end = RecordFailed(0, error, 0, 1.0, 1.0, usage=Usage(None, evil))
    path = a_store(Turn([block([0], [evil])], [], [end]), task=evil, computer=evil)
    for words in (
        ["status"],
        ["runs"],
        ["runs", "r"],
        ["ls"],
        ["failures", "--traceback"],
        ["failures"],
        ["show", 0],
    ):
        status, out, _ = farmhand(words[0], path, *words[1:])
        assert status in (0, 1)
        assert not set("\x1b\u202e\udcff") & set(out)


def test_whoever_stops_reading_gets_no_complaint(path, a_store):
    """As with `farmhand ls results.db | head`."""
    a_store(Turn([block(range(9000), [0] * 9000)], [done(range(9000), [0] * 9000)]))
    command = [sys.executable, "-m", "farmhand", "ls", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("ITEM")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(DEADLINE) == 141


def test_the_module_is_the_command(rates, farmhand):
    """``python -m farmhand`` does what ``farmhand`` does, where the script is not on the path."""
    run = module("status", rates)
    assert (run.returncode, run.stdout, run.stderr) == farmhand("status", rates)
    assert module("failures", rates).returncode == 1
    assert module("--version").stdout.startswith("farmhand ")
    help = module("--help").stdout
    for status in ("0 ", "1 ", "2 ", "130 ", "141 "):
        assert f"\n  {status}" in help


def test_every_command_and_option_is_on_its_page(farmhand, monkeypatch):
    """What nobody can read about nobody uses."""
    monkeypatch.setattr(
        "farmhand.entrypoints.entry_points", lambda group: []
    )  # those of plugins are elsewhere
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    if not page.exists():
        pytest.skip("needs the repository")
    text = page.read_text(encoding="utf-8")
    commands = re.findall(r"^    (\w+) ", farmhand("--help")[1], re.MULTILINE)
    assert len(commands) == 18
    for command in commands:
        assert f"`{command}`" in text or f"farmhand {command}" in text
        for option in re.findall(r"--[a-z]+", farmhand(command, "--help")[1]):
            assert option in ("--help",) or option in text, f"{command} {option}"
