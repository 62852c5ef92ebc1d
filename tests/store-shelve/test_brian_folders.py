"""Folders that Brian 1 has left, written by Python 2: they are read as they are, and stay as they are.

The bytes below are what Python 2.7 writes: its ``dumbdbm``, and its pickles of protocols 0, 1 and 2.
"""

import os
import shelve
import shlex
import sqlite3
import subprocess
import sys

import pytest

from farmhand import open_store, run_tasks
from farmhand.errors import StoreError
from farmhand_shelve import ShelveStore

ARRAY = (  # numpy.array([1.0, 2.5, -300.0]), by protocol 2
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
    b"(K\x01K\x03\x85cnumpy\ndtype\nq\x04U\x02f8K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff"
    b"\xff\xffK\x00tb\x89U\x18\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x04@\x00\x00\x00\x00\x00"
    b"\xc0r\xc0tb."
)
SCALAR = (  # numpy.float64(0.1)
    b"\x80\x02cnumpy.core.multiarray\nscalar\nq\x01cnumpy\ndtype\nq\x02U\x02f8K\x00K\x01\x87Rq\x03(K\x03U\x01<"
    b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbU\x08\x9a\x99\x99\x99\x99\x99\xb9?\x86Rq\x04."
)
VALUES = {  # by key as Python 2 has it: the pickle, and what it must become
    b"text": (b"\x80\x02]q\x01(K\x01U\x03abcq\x02X\x02\x00\x00\x00\xc3\xa9e.", [1, "abc", "é"]),
    b"bytes": (b"\x80\x02U\x03\xe9\xff\x00q\x01.", "\xe9\xff\x00"),
    b"it's": (b"\x80\x02}q\x01U\x01xq\x02K\x01\x8a\x01\x02\x86q\x03s.", {"x": (1, 2)}),
    b"k\xc3\xa9": (b"\x80\x02\x88.", True),
    b"k\xe9": (b"\x80\x02N.", None),
    b"protocol 0": (b"(lp1\nI1\naS'two'\np2\naL3L\na.", [1, "two", 3]),
    b"protocol 1": (b"]q\x01(K\x01G?\xf0\x00\x00\x00\x00\x00\x00U\x01xq\x02e.", [1, 1.0, "x"]),
    b"set": (b"\x80\x02c__builtin__\nset\nq\x01]q\x02K\x07a\x85q\x03Rq\x04.", {7}),
    b"complex": (
        b"\x80\x02c__builtin__\ncomplex\nq\x01G@\x00\x00\x00\x00\x00\x00\x00G\xbf\xf0\x00\x00\x00\x00\x00\x00"
        b"\x86q\x02Rq\x03.",
        2 - 1j,
    ),
}


def repr_of_python_2(key):
    """``repr`` of a str there, which is one of bytes here without its first letter."""
    return repr(key)[1:]


def write_dumb(base, values, ending="\n", long=""):
    """What ``dumbdbm`` of Python 2 writes: three files, with each value at a multiple of 512."""
    data, index = b"", ""
    for key, value in values.items():
        data += bytes(-len(data) % 512)
        index += f"{repr_of_python_2(key)}, ({len(data)}{long}, {len(value)}{long}){ending}"
        data += value
    base.parent.mkdir(exist_ok=True)
    base.with_name(base.name + ".dat").write_bytes(data)
    for name in (".dir", ".bak"):
        base.with_name(base.name + name).write_text(index, encoding="ascii", newline="")


def state(folder):
    """Everything that says whether somebody has written there."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return [(str(p), p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in paths]


@pytest.fixture
def old(tmp_path):
    """A folder of two sessions."""
    folder = tmp_path / "rates.data"
    write_dumb(folder / "me.host.uni.edu", {key: data for key, (data, _) in VALUES.items()})
    write_dumb(folder / "me.0f9e3b52-8f1e", {b"text": b"\x80\x02U\x04morevq".replace(b"vq", b"q\x01.")})
    return folder


def read_all(store):
    """Each way of reading."""
    keys = store.keys()
    return (
        keys,
        store.items(),
        store.values(),
        [store.get(key) for key in keys],
        [store[key] for key in keys],
        store.itemcount(),
        store.session_names(),
        list(store.records()),
        store.runs(),
        store.get_matching("te"),
        list(store.check()),
        repr(store),
    )


# -- what is in them ---------------------------------------------------------------------------------


def test_values_of_python_2_are_read(old):
    """Text stays text; what were bytes is one encoding away from them, as with ``numpy.load``."""
    with open_store(old) as store:
        shelf = store.session("me.host.uni.edu")
        names = {key: key.decode("utf-8", "surrogateescape") for key in VALUES}
        assert {key: shelf[names[key]] for key in VALUES} == {
            key: value for key, (_, value) in VALUES.items()
        }
        assert shelf["bytes"].encode("latin-1") == b"\xe9\xff\x00"
        assert store.get("text") == {"me.host.uni.edu": [1, "abc", "é"], "me.0f9e3b52-8f1e": "more"}
        assert store.itemcount() == len(VALUES) + 1


def test_arrays_of_the_numpy_of_that_time_are_read(tmp_path):
    """Its modules had other names, and its data was a ``str``."""
    numpy = pytest.importorskip("numpy")
    write_dumb(tmp_path / "rates.data" / "me.host", {b"array": ARRAY, b"scalar": SCALAR})
    with open_store(tmp_path / "rates.data") as store:
        array, scalar = store["array"], store["scalar"]
        assert array.dtype == numpy.float64
        assert array.tolist() == [1.0, 2.5, -300.0]
        assert (type(scalar), scalar) == (numpy.float64, 0.1)


def test_three_files_are_one_session(old):
    """Brian itself took each of them for one, where Python had this dbm alone."""
    with open_store(old) as store:
        assert store.session_names() == ["me.0f9e3b52-8f1e", "me.host.uni.edu"]
        assert store.session_filenames() == [os.path.join(old, name) for name in store.session_names()]


@pytest.mark.parametrize(("ending", "long"), [("\r\n", ""), ("\n", "L")], ids=["windows", "long"])
def test_an_index_may_have_been_written_on_another_system(tmp_path, ending, long):
    """Python 2 had two kinds of int, and Windows has its own ends of lines."""
    write_dumb(tmp_path / "rates.data" / "me.host", {b"a": b"I1\n.", b"b": b"I2\n."}, ending, long)
    with open_store(tmp_path / "rates.data") as store:
        assert store.items() == [("a", 1), ("b", 2)]


def test_a_value_whose_class_is_gone_names_its_key_and_session(tmp_path):
    """Brian's own classes, for example: the error must say which value needs which module."""
    write_dumb(
        tmp_path / "rates.data" / "me.host", {b"bad": b"\x80\x02cno_such_module\nThing\nq\x01.", b"ok": b"N."}
    )
    with open_store(tmp_path / "rates.data") as store:
        assert store["ok"] is None
        with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught:
            store["bad"]
    assert "'bad'" in caught.value.__notes__[0]
    assert "me.host" in caught.value.__notes__[0]


# -- nothing is written into them --------------------------------------------------------------------


def test_reading_changes_nothing(old):
    """No file, no time of change: it may be the only copy of somebody's thesis."""
    before = state(old)
    with open_store(old) as store:
        found = read_all(store)
    assert found[5] == len(VALUES) + 1
    assert found[-2] == []
    assert state(old) == before


def test_a_read_only_folder_is_read(nobody):
    """On somebody else's disk, or on a DVD; to write there is refused."""
    old = nobody / "rates.data"
    write_dumb(old / "me.host", {b"a": b"I1\n."})
    old.chmod(0o500)
    with open_store(old) as store:
        assert read_all(store)[1] == [("a", 1)]
        for write in (lambda: store.session("x").update(k=1), lambda: run_tasks(store, abs, [1], gui=False)):
            with pytest.raises(StoreError, match="it is read-only"):
                write()
    assert sorted(path.name for path in old.iterdir()) == ["me.host.bak", "me.host.dat", "me.host.dir"]


def test_a_farm_adds_its_run_and_leaves_the_rest_alone(old):
    """Old and new results are read together."""
    before = {path: path.read_bytes() for path in old.iterdir()}
    with open_store(old) as store:
        run_tasks(store, abs, [-3, -4], gui=False, progress="none", poolsize=1)
        assert sorted(store.values()[:2]) == [3, 4]
        assert store.itemcount() == len(VALUES) + 3
        assert len(store.runs()) == 1
    assert {path: path.read_bytes() for path in before} == before


def test_a_value_can_be_set_in_an_old_session(old):
    """Explicitly, and so that Python 2 would still read the others."""
    with open_store(old) as store:
        store.session("me.host.uni.edu")["new"] = [1]
        shelf = dict(store.session("me.host.uni.edu"))
        assert shelf["new"] == [1]
        assert len(shelf) == len(VALUES) + 1
        del store.session("me.host.uni.edu")["new"]
        assert dict(store.session("me.host.uni.edu")).keys() == shelf.keys() - {"new"}
    lines = (old / "me.host.uni.edu.dir").read_text(encoding="latin-1").splitlines()
    assert len(lines) == len(VALUES)


# -- what is wrong with them -------------------------------------------------------------------------


def test_an_index_that_dumbdbm_was_killed_over_is_found_in_its_copy(old):
    """It renames the old one and writes the new one anew: in between, ``.bak`` is all there is."""
    (old / "me.host.uni.edu.dir").unlink()
    with open_store(old) as store:
        assert store.itemcount() == len(VALUES) + 1
    index = (old / "me.host.uni.edu.bak").read_bytes()
    (old / "me.host.uni.edu.dir").write_bytes(index[: len(index) // 2])
    with open_store(old) as store:
        assert store.itemcount() == len(VALUES) + 1
        store.session("me.host.uni.edu")["new"] = 1
        assert store.itemcount() == len(VALUES) + 2


def no_index(folder):
    for ending in (".dir", ".bak"):
        (folder / f"me.host{ending}").unlink()


def broken_index(folder):
    (folder / "me.host.dir").write_text("'a', (0, 4)\nnonsense\n")


def evil_index(folder):
    (folder / "me.host.dir").write_text("__import__('os').mkdir('gone'), (0, 4)\n")


def cut_data(folder):
    os.truncate(folder / "me.host.dat", 300)


def no_data(folder):
    (folder / "me.host.dat").unlink()


def an_image(folder):
    (folder / "me.host").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


@pytest.mark.parametrize(
    ("harm", "file", "words"),
    [
        (no_index, "me.host.dat", "no session"),
        (broken_index, "me.host.dir", "'nonsense' is no line"),
        (evil_index, "me.host.dir", "is no line"),
        (cut_data, "me.host.dat", "cut off: the value of 'b'"),
        (no_data, "me.host", "no session"),
        (an_image, "me.host", "no session"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_damaged_is_named_and_left_as_it_is(tmp_path, harm, file, words):
    """File and key are said, and what to do; nothing is repaired at the price of what is left."""
    folder = tmp_path / "rates.data"
    write_dumb(folder / "me.host", {b"a": b"I1\n.", b"b": b"I2\n."})
    harm(folder)
    before = state(folder)
    with pytest.raises(StoreError, match=words) as caught, open_store(folder) as store:
        store.values()
    where, _, advice = caught.value.args
    assert where.startswith(str(folder / file))
    assert advice
    assert state(folder) == before


def berkeley(path):
    path.write_bytes(bytes(12) + (0x00061561).to_bytes(4, "little") + bytes(4080))


def gnu(path):
    path.write_bytes((0x13579ACE).to_bytes(4, "little") + bytes(4092))


def sqlite(path):
    db = sqlite3.connect(path)
    with db:
        db.execute("CREATE TABLE Dict (key BLOB UNIQUE NOT NULL, value BLOB NOT NULL)")
        db.execute("INSERT INTO Dict VALUES (?, ?)", (b"k", b"I7\n."))
    db.close()


@pytest.mark.parametrize(
    ("write", "module", "python"),
    [(berkeley, "bsddb", "python2"), (gnu, "dbm.gnu", "python3"), (sqlite, "dbm.sqlite3", "python3")],
    ids=["bsddb", "gnu", "sqlite3"],
)
def test_a_module_that_this_python_lacks_is_named_with_the_way_to_convert(
    tmp_path, monkeypatch, write, module, python
):
    """The files are fine: another Python reads them, and one command makes what each Python reads."""
    monkeypatch.setitem(sys.modules, module, None)  # as if it were lacking, where it is not
    folder = tmp_path / "rates.data"
    folder.mkdir()
    write(folder / "me.host")
    before = state(folder)
    with open_store(folder) as store:
        assert store.session_names() == ["me.host"]
        assert store.runs() == []
        with pytest.raises(StoreError) as caught:
            store.values()
    assert str(folder / "me.host") in str(caught.value)
    assert f"with {module}" in str(caught.value).replace("Berkeley DB (bsddb)", "bsddb")
    assert f"{python} -c " in str(caught.value)
    assert state(folder) == before


def test_the_way_to_convert_is_one(tmp_path, monkeypatch):
    """The printed command, as a user would copy it, on a Python that has the module."""
    module = pytest.importorskip("dbm.sqlite3", reason="this Python has only one dbm")
    folder = tmp_path / "ra $tes'.data"
    folder.mkdir()
    with shelve.Shelf(module.open(str(folder / "me.host"), "c")) as shelf:
        shelf["a"], shelf["b"] = 1, [2]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "dbm.sqlite3", None)
        with pytest.raises(StoreError) as caught, open_store(folder) as store:
            store.values()
    command = str(caught.value).partition("python3 ")[2].rpartition("; then")[0]
    subprocess.run(f"{shlex.quote(sys.executable)} {command}", shell=True, check=True)
    (folder / "me.host").unlink()
    with open_store(folder) as store:
        assert store.items() == [("a", 1), ("b", [2])]
        assert store.session_names() == ["me.host.new"]


def test_python_itself_reads_a_session_that_was_gone_on_with(old):
    """An old session that farmhand has added to is still a shelf."""
    with ShelveStore(old) as store:
        store.session("me.0f9e3b52-8f1e")["new"] = {"x": 1}
    with shelve.open(str(old / "me.0f9e3b52-8f1e"), "r") as plain:
        assert sorted(plain) == ["new", "text"]
        assert plain["new"] == {"x": 1}
