"""Large results: written by the processes into files beside the store, read back as memory maps.

A store in memory that is given a folder has all that matters here; that the stores on disk keep the
same promises is in their conformance tests.
"""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm_tasks import FAST
from farmhand import MemoryStore, StoreError, codec, owner, run_tasks
from farmhand.files import ResultFiles
from farmhand.kept import RunInfo
from farmhand.spool import MARK, Reference, Spool
from farmhand.testing.stores import StoreConformance
from waiting import DEADLINE

np = pytest.importorskip("numpy")

both = pytest.mark.parametrize("start_method", ["spawn", "fork"])
SIZE = 300_000  # numbers, of eight bytes each


class FiledStore(MemoryStore):
    """In memory, but for large results."""

    def __init__(self, folder: Path, threshold: int = 1 << 20) -> None:
        super().__init__()
        self.files = ResultFiles(str(folder), threshold)


@dataclass
class Fit:
    curve: Any
    name: str


def ramp(k: int) -> Any:
    return np.arange(SIZE, dtype=float) + k


def in_all_forms(form: str) -> Any:
    array = ramp(1)
    return {
        "alone": array,
        "in a tuple": (array, 7),
        "in a dict": {"a": array, "b": [array[::2], None]},
        "in a dataclass": Fit(array, "first"),
        "in Fortran's order": np.asfortranarray(array.reshape(1000, -1)),
        "with gaps": array.reshape(1000, -1)[:, ::2],
        "of records": np.zeros(SIZE, dtype=[("x", "f8"), ("n", "i4")]),
        "read-only": np.frombuffer(bytes(8 * SIZE)),
        "bytes": bytes(8 * SIZE),
        "text": "é" * SIZE * 5,
        "a list": list(range(SIZE * 2)),
    }[form]


FORMS = [
    *("alone", "in a tuple", "in a dict", "in a dataclass", "in Fortran's order", "with gaps", "of records"),
    *("read-only", "bytes", "text", "a list"),
]


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def run(store, task, items, **kwds):
    return run_tasks(store, task, items, **{**FAST, "poolsize": 2, "errors": "collect", **kwds})


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return same(vars(a), vars(b)) if isinstance(a, Fit) else bool(a == b)


def is_mapped(array: Any, folder: Path) -> bool:
    """Whether the memory of an array is that of a file in ``folder``."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, *rest = line.split(maxsplit=5)
        first, last = (int(number, 16) for number in span.split("-"))
        if first <= address < last:
            return rest[-1].startswith(str(folder))
    return False


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux lists what is mapped")

# -- the way of a large result -----------------------------------------------------------------------


@both
@pytest.mark.parametrize("form", FORMS)
def test_a_large_result_is_what_the_task_returned(tmp_path, form, start_method):
    """In whatever it is wrapped, and whether or not it has arrays."""
    store = FiledStore(tmp_path / "files")
    assert run(store, in_all_forms, [form], start_method=start_method).failed == 0
    [value] = store.values()
    assert type(value) is type(in_all_forms(form))
    assert same(value, in_all_forms(form))
    [file] = files_in(tmp_path)
    assert file.stat().st_size >= 8 * SIZE // 2
    [(_, data)] = store.encoded(store.runs()[0].uid)
    assert len(data) < 100, "it came through the farm"


def test_the_limit_is_the_store_s(tmp_path):
    """Below it a result is a row like all others, which is faster."""
    store = FiledStore(tmp_path / "files", threshold=8 * SIZE + 1000)
    run(store, ramp, [1])
    assert same(store.values()[0], ramp(1))
    assert files_in(tmp_path) == []
    store = FiledStore(tmp_path / "files", threshold=8 * SIZE - 1000)
    run(store, ramp, [1])
    assert len(files_in(tmp_path)) == 1


@linux
def test_an_array_is_mapped_and_may_be_changed(tmp_path):
    """Reading costs no copy; writing into it changes neither the file nor what is read next."""
    store = FiledStore(tmp_path / "files")
    run(store, ramp, [5])
    [array] = store.values()
    assert is_mapped(array, tmp_path)
    assert array.__array_interface__["data"][0] % 64 == 0, "it is not aligned"
    array[0] = -1.0
    assert store.values()[0][0] == 5.0
    [key] = store.keys()
    assert store[key][0] == 5.0


def mixed(k: int) -> Any:
    return ramp(k) if k % 3 == 0 else (k, "small") if k % 3 == 1 else k


def test_large_and_small_results_come_together(tmp_path):
    """Each of them is kept in its own way, and read in the order of the items."""
    store = FiledStore(tmp_path / "files")
    run(store, mixed, range(30))
    assert all(same(value, mixed(k)) for k, value in enumerate(store.values()))
    assert len(files_in(tmp_path)) == 10
    assert list(store.check()) == []


def test_a_store_without_a_folder_takes_them_as_all_others():
    """It is for the store to say where files may be."""
    store = MemoryStore()
    run(store, ramp, [2])
    assert same(store.values()[0], ramp(2))


@pytest.mark.skipif(
    os.geteuid() == 0 and not os.path.exists("/proc"), reason="needs a place nobody can write"
)
@pytest.mark.parametrize("place", ["/proc/farmhand", "a file"])
def test_where_no_file_can_be_written_the_result_goes_to_the_store(tmp_path, place):
    """A disk that is full, or a computer without that folder, costs no result."""
    if place == "a file":
        place = str(tmp_path / "file")
        Path(place).touch()
    store = FiledStore(Path(place))
    assert run(store, in_all_forms, ["alone", "text", "in a dict"]).failed == 0
    assert same(store.values(), [in_all_forms("alone"), in_all_forms("text"), in_all_forms("in a dict")])


class Leaves:
    """Pickling it makes the process exit, or would, if the farm let it."""

    def __reduce__(self):
        raise SystemExit(3)


def leave_with_an_array(k: int) -> Any:
    return [ramp(k), Leaves()] if k % 2 else [ramp(k), "stays"]


@both
def test_a_result_that_breaks_off_its_pickling_leaves_nothing_to_the_next_one(tmp_path, start_method):
    """The array that came first was apart already: it must not become that of the result after it."""
    store = FiledStore(tmp_path / "files")
    options = {"poolsize": 1, "errors": "collect", "start_method": start_method, **FAST}
    summary = run_tasks(store, leave_with_an_array, range(4), **options)
    assert (summary.done, summary.failed) == (2, 2)
    assert same(store.values(), [[ramp(0), "stays"], [ramp(2), "stays"]])


def test_files_have_the_rights_that_the_user_gives_to_files(tmp_path):
    """Whoever may read the store may read its large results, and nobody else."""
    before = os.umask(0o027)
    try:
        store = FiledStore(tmp_path / "files")
        run(store, ramp, [1])
        [file] = files_in(tmp_path)
        assert file.stat().st_mode & 0o777 == 0o640
        assert file.parent.stat().st_mode & 0o777 == 0o750
    finally:
        os.umask(before)


# -- missing and damaged files ---------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path):
    """A store with one large result, and its file."""
    store = FiledStore(tmp_path / "files")
    run(store, in_all_forms, ["in a dict"])
    [file] = files_in(tmp_path)
    return store, file


def cut(file: Path) -> None:
    os.truncate(file, 1000)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def garble_the_header(file: Path) -> None:
    file.write_bytes(b"x" * 8 + file.read_bytes()[8:])


def garble_the_pickle(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:60] + b"\xff" * 40 + data[100:])


def newer(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:8] + b"\x63" + data[9:])


@pytest.mark.parametrize("damage", [os.unlink, cut, empty, garble_the_header, garble_the_pickle, newer])
def test_a_missing_or_damaged_file_names_key_item_and_file(stored, damage):
    """And says what can be done; the other results are not concerned."""
    store, file = stored
    [key] = store.keys()
    damage(file)
    with pytest.raises(StoreError) as caught:
        store[key]
    text = str(caught.value)
    assert str(file) in text
    assert key in text
    assert "'in a dict'" in text
    assert "store.forget(key)" in text
    assert ("is missing" in text) == (damage is os.unlink)
    [problem] = store.check()
    assert str(file) in problem
    assert key in problem


def test_a_byte_that_has_changed_in_an_array_is_found_by_the_check(stored):
    """Reading does not look at every byte, which would take as long as reading it all; the check does."""
    store, file = stored
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    [problem] = store.check()
    assert "checksum" in problem


def test_what_cannot_be_decoded_for_another_reason_raises_that(stored, monkeypatch):
    """A file that is as it was written is not called damaged."""
    store, _ = stored
    monkeypatch.setattr("numpy._core.numeric._frombuffer", None)
    with pytest.raises(TypeError):
        store.values()


def test_nothing_of_a_file_is_unpickled_but_for_its_value(tmp_path):
    """The check, the sweep and listings are safe for a store that nobody trusts."""
    store = FiledStore(tmp_path / "files")
    run(store, ramp, [1])
    [file] = files_in(tmp_path)
    poison = pickle.dumps(Poison())
    data = file.read_bytes()
    place = data.index(b"\x80\x05")
    file.write_bytes(data[:place] + poison + data[place + len(poison) :])
    assert len(list(store.check())) == 1
    assert (len(store.keys()), len(list(store.records())), store.sweep()) == (1, 1, 0)
    with pytest.raises(pytest.fail.Exception, match="unpickled"):
        store.values()


class Poison:
    def __reduce__(self) -> Any:
        return pytest.fail, ("it was unpickled",)


@pytest.mark.parametrize(
    "name", ["../../7-ab", "7-../x", "7", "seven-ab", "7-", "7-a b", "/7-ab", "7-ab\n", "7-" + "a" * 300, ""]
)
def test_a_reference_cannot_lead_out_of_the_folder(tmp_path, name):
    """Whoever made the store: only files of its own are opened."""
    data = codec.REFERENCE + f"1 10 00000000 {name}".encode()
    assert Reference.parse(data) is None
    with pytest.raises(StoreError, match="names no file"):
        ResultFiles(str(tmp_path)).load("run", data, str)


@given(st.integers(0, 2**50), st.integers(0, 2**60), st.integers(0, 2**32 - 1))
def test_a_reference_is_read_as_it_was_written(index, size, checksum):
    reference = Reference(f"{index}-0a1b", size, checksum)
    assert Reference.parse(reference.encode()) == reference
    assert reference.index == index


values = st.recursive(
    st.none() | st.text() | st.binary(max_size=300_000) | st.integers(0, 200_000).map(np.arange),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=50)
@given(value=values)
def test_any_value_comes_back_from_a_spool(value, tmp_path_factory):
    """Whichever of its parts are large."""
    files = ResultFiles(str(tmp_path_factory.mktemp("any")), threshold=1000, sync=False)
    spool = files.spool("run")
    assert spool is not None
    data = spool.encode(3, value)
    isolated = data if data[:1] != codec.REFERENCE else None
    back = files.load("run", data, str) if isolated is None else codec.decode(data)
    assert same(back, value)
    assert len(data) <= 1000


# -- what a crash leaves -----------------------------------------------------------------------------


def begun(store: MemoryStore, run: str, **about: Any) -> RunInfo:
    info = RunInfo(run, "task", "someone.somewhere", 1.0, **about)
    store.begin(info)
    return info


def dead_owner() -> str:
    """A process of this computer that has ended."""
    code = "from farmhand import owner; print(owner.here())"
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=DEADLINE
    ).stdout.strip()


def test_files_that_no_record_names_are_swept_once_their_farm_is_gone(tmp_path):
    """A process was killed after it had written a result, or the farm was before it had stored it."""
    store = FiledStore(tmp_path / "files")
    begun(store, "killed", owner=dead_owner())
    Spool(str(tmp_path / "files" / "killed")).put(0, b"a whole result")
    (tmp_path / "files" / "killed" / "1-ab.1234").write_bytes(b"half a result")
    begun(store, "running", owner=owner.here())
    Spool(str(tmp_path / "files" / "running")).put(0, b"about to be stored")
    begun(store, "elsewhere", owner="another/computer/7/1/2")
    Spool(str(tmp_path / "files" / "elsewhere")).put(0, b"who knows")
    Spool(str(tmp_path / "files" / "unknown")).put(0, b"of a newer copy of this store, perhaps")
    assert store.sweep() == 2
    assert {path.parent.name for path in files_in(tmp_path)} == {"running", "elsewhere", "unknown"}
    assert not (tmp_path / "files" / "killed").exists()
    store.vacuum()
    assert {path.parent.name for path in files_in(tmp_path)} == {"running", "unknown"}


def test_a_run_that_has_ended_has_nothing_to_sweep(tmp_path):
    """Opening a store does not look at each of its files."""
    store = FiledStore(tmp_path / "files")
    run(store, ramp, range(3))
    [uid] = [info.uid for info in store.runs()]
    assert store.files.marked() == []
    assert MARK not in os.listdir(tmp_path / "files" / uid)
    assert len(files_in(tmp_path)) == 3


def die_once(k: int, folder: str) -> Any:
    """Its result has been written, and is not sent any more."""
    mark = Path(folder, f"tried-{k}")
    if not mark.exists():
        mark.touch()
        spool = Spool(os.environ["SPOOL_OF_THIS_RUN"])
        spool.put(k, b"what nobody will hear of")
        os._exit(1)
    return ramp(k)


def test_what_a_dead_process_has_written_is_gone_at_the_end_of_the_run(tmp_path, monkeypatch):
    """Its item was run again, in another file."""
    store = FiledStore(tmp_path / "files")
    spools: list[str] = []
    make = store.files.spool

    def remember(uid: str) -> Any:
        spool = make(uid)
        spools.append(spool.folder)
        monkeypatch.setenv("SPOOL_OF_THIS_RUN", spool.folder)
        return spool

    monkeypatch.setattr(store.files, "spool", remember)
    summary = run(store, die_once, [(k, str(tmp_path)) for k in range(4)], retries=1, backoff=0.001)
    assert (summary.done, summary.failed) == (4, 0)
    assert len(files_in(tmp_path / "files")) == 4
    assert all(same(value, ramp(k)) for k, value in enumerate(store.values()))


def test_what_is_forgotten_takes_its_file_along(tmp_path):
    """And the item runs again."""
    store = FiledStore(tmp_path / "files")
    run(store, ramp, range(3))
    assert store.forget(store.keys()[1]) == 1
    assert len(files_in(tmp_path)) == 2
    assert run(store, ramp, range(3), resume=True).done == 1
    assert len(files_in(tmp_path)) == 3
    assert [value[0] for value in store.values()] == [0.0, 2.0, 1.0]


def test_more_results_than_descriptors_can_be_held_at_once(tmp_path):
    """A list of all values may have thousands of arrays, each in its own file."""
    files = ResultFiles(str(tmp_path), threshold=1000, sync=False)
    spool = files.spool("run")
    assert spool is not None
    references = [spool.encode(k, np.full(10_000, k)) for k in range(150)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        held = [files.load("run", data, str) for data in references]
        open(__file__, "rb").close()  # there are some left
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [int(array[-1]) for array in held] == list(range(150))


def test_a_farm_that_runs_keeps_what_others_could_take_for_left_behind(tmp_path):
    """Another program that opens the store in between does not sweep what is about to be stored."""
    code = f"""
import sys
sys.path[:0] = {[*map(str, Path(__file__).parents[:2])]!r}
from pathlib import Path
from test_large_results import FiledStore, begun
from farmhand import owner
store = FiledStore(Path({str(tmp_path / "files")!r}))
begun(store, "run", owner={owner.here()!r})
print(store.sweep())
"""
    Spool(str(tmp_path / "files" / "run")).put(0, b"about to be stored")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE)
    assert done.stdout.strip() == "0"
    assert len(files_in(tmp_path)) == 2


class TestAStoreWithAFolder(StoreConformance):
    """The whole contract of stores, with large results in files."""

    persistent = False

    @pytest.fixture
    def open_store(self):
        return lambda location: FiledStore(location.with_suffix(".files"))
