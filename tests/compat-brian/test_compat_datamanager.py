"""``brian.tools.datamanager`` is that of Brian 1.4, for whoever calls it."""

import inspect
import os
import pickle
import shelve

import pytest

from brian.tools import datamanager
from brian.tools.datamanager import DataManager, LockingSession
from brian.tools.taskfarm import run_tasks
from farmhand import UsageError
from farmhand_shelve import ShelveStore

# The methods of Brian 1.4.4's class, with the arguments that each takes.
BRIAN_1 = {
    "__init__": "name, datapath=''",
    "computer_session": "",
    "get": "key",
    "get_flat_matching": "match",
    "get_matching": "match",
    "get_matching_keys": "match",
    "get_merged": "key",
    "get_merged_matching": "match",
    "itemcount": "",
    "items": "",
    "iteritems": "",
    "itervalues": "",
    "keys": "",
    "locking_computer_session": "",
    "locking_session": "session_name=None",
    "make_unique_key": "",
    "session": "session_name=None",
    "session_filename": "session_name=None",
    "session_filenames": "",
    "session_name": "",
    "shelf": "fname",
    "values": "",
}
LOCKING_SESSION = {"__init__": "dataman, session_filename", "acquire": "", "release": ""}


def arguments(function):
    """As in a call: 'name, datapath=None'; what takes any keywords is left aside."""
    parameters = inspect.signature(function).parameters.values()
    return ", ".join(
        each.name if each.default is each.empty else f"{each.name}={each.default!r}"
        for each in parameters
        if each.name != "self" and each.kind is not each.VAR_KEYWORD
    )


@pytest.fixture
def dataman(tmp_path):
    return DataManager("rates", str(tmp_path))


@pytest.mark.parametrize("name", BRIAN_1)
def test_a_method_takes_what_it_took(name):
    """By position and by keyword."""
    assert arguments(getattr(DataManager, name)) == BRIAN_1[name]


@pytest.mark.parametrize("name", LOCKING_SESSION)
def test_a_method_of_a_locking_session_takes_what_it_took(name):
    assert arguments(getattr(LockingSession, name)) == LOCKING_SESSION[name]


def test_the_module_offers_the_class_alone():
    """And has the other one for who names it."""
    assert datamanager.__all__ == ["DataManager"]
    assert datamanager.LockingSession is LockingSession


def test_attributes_say_where_it_is(dataman, tmp_path):
    """As Brian made the names, but for the folder, whose path is absolute: scripts change directory."""
    assert dataman.basepath == str(tmp_path / "rates.data")
    assert os.path.isdir(dataman.basepath)
    user, _, host = dataman.computer_name.partition(".")
    assert user
    assert host == os.uname().nodename
    assert dataman.computer_session_filename == os.path.join(dataman.basepath, dataman.computer_name)
    assert dataman.session_name().startswith(f"{user}.")
    assert dataman.session_name() != dataman.session_name()
    assert dataman.session_filename("night") == os.path.join(dataman.basepath, "night")
    assert isinstance(dataman.make_unique_key(), str)


def test_folders_before_the_name_are_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DataManager("paper/figure 3/rates")
    assert (tmp_path / "paper" / "figure 3" / "rates.data").is_dir()


def test_it_reads_as_brian_did(dataman):
    """The names of results are those of sessions, and lists of several sessions are joined."""
    dataman.computer_session()["spikes"] = [3, 1, 4]
    with dataman.session("night") as night:
        night["spikes"] = [1, 5]
        night["weights"] = (0.5,)
    assert dataman.get("spikes") == {dataman.computer_name: [3, 1, 4], "night": [1, 5]}
    assert sorted(dataman.get_merged("spikes")) == [1, 1, 3, 4, 5]
    assert sorted(dataman.get_matching_keys("s")) == ["spikes"]
    assert dataman.get_matching_keys(lambda key: key.endswith("ts")) == ["weights"]
    assert dataman.get_matching("w") == {"weights": {"night": (0.5,)}}
    assert sorted(dataman.get_merged_matching("")) == [0.5, 1, 1, 3, 4, 5]
    assert sorted(map(len, dataman.get_flat_matching(""))) == [1, 2, 3]
    assert sorted(dataman.keys()) == ["spikes", "weights"]
    assert dataman.itemcount() == 3 == len(dataman.items()) == len(list(dataman.iteritems()))
    assert sorted(map(len, dataman.values())) == [1, 2, 3] == sorted(map(len, dataman.itervalues()))


def test_a_session_is_found_by_its_path(dataman):
    """`DataManager.shelf(dataman.session_filename('night'))`, as Brian's own code did."""
    DataManager.shelf(dataman.session_filename("night"))["a"] = 1
    assert dataman.session("night")["a"] == 1
    (filename,) = dataman.session_filenames()
    assert dict(DataManager.shelf(filename)) == {"a": 1}
    with shelve.open(filename) as shelf:  # any other program
        assert dict(shelf) == {"a": 1}


def test_a_locking_session_is_held_between_acquire_and_release(dataman):
    """Brian's way of doing several things in it: `session.session` is the shelf meanwhile."""
    session = dataman.locking_session("night")
    assert isinstance(session, LockingSession)
    session["a"] = 1
    assert session.session is None
    session.acquire()
    session.session["a"] += 1
    session.release()
    assert session.session is None
    assert session["a"] == 2
    assert session.session_filename == dataman.session_filename("night")
    assert session.dataman is dataman


def test_a_locking_session_is_made_by_its_path(dataman, tmp_path):
    LockingSession(dataman, dataman.computer_session_filename)["a"] = 1
    assert dataman.computer_session()["a"] == 1
    with pytest.raises(UsageError, match=r"not in the folder of its store.*session_filename\(name\)"):
        LockingSession(dataman, str(tmp_path / "elsewhere"))


class Counter:
    """A class task that keeps what all processes have done together, as Brian 1 suggested."""

    def __init__(self, dataman, process_number):
        self.session = dataman.locking_session("counter")
        self.process_number = process_number

    def __call__(self, k):
        self.session.acquire()
        self.session.session["calls"] = self.session.session.get("calls", 0) + 1
        self.session.release()
        return self.process_number


def test_processes_share_a_locking_session(dataman):
    """A DataManager goes to processes as an argument, and no count is lost there."""
    run_tasks(dataman, Counter, range(40), gui=False, poolsize=3, initargs=(dataman,))
    assert dataman.locking_session("counter")["calls"] == 40
    assert dataman.itemcount() == 41


def test_it_travels_and_is_a_store_of_farmhand(dataman):
    """So that what is stored can be read with all that farmhand has."""
    run_tasks(dataman, abs, [-1, -2], gui=False)
    assert isinstance(dataman, ShelveStore)
    assert [record.status for record in dataman.records()] == ["done", "done"]
    assert pickle.loads(pickle.dumps(dataman)).values() == [1, 2]
