"""How the names of a script travel: a test for each sentence of the header of ``farmhand.shipping``.

Each of these is a script as a user would write it, with no ``__main__`` guard, and runs in an
interpreter of its own. What it prints is what counts.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from waiting import DEADLINE

both = pytest.mark.parametrize("start_method", ["spawn", "fork"])

HEAD = """\
from farmhand import *

def farm(task, items, **kwds):
    store = open_store(":memory:")
    run_tasks(store, task, items, **{"gui": False, "progress": "none", "poolsize": 2, **kwds})
    return store.values()
"""


class Script:
    """Writes and runs scripts in a folder of their own."""

    def __init__(self, folder: Path, start_method: str) -> None:
        self.folder = folder
        self.start_method = start_method

    def source(self, body: str) -> str:
        head = HEAD.replace('"poolsize": 2', f'"poolsize": 2, "start_method": {self.start_method!r}')
        return head + textwrap.dedent(body)

    def module(self, name: str, body: str) -> None:
        """A module beside the script."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(body))

    def run(self, body: str) -> str:
        """What the script prints."""
        path = self.folder / "script.py"
        path.write_text(self.source(body))
        return self.python(str(path))

    def python(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=DEADLINE,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def answers_of(folder: Path, cases: dict[str, str]) -> dict[str, str]:
    """Each case run in one and the same script, as one after another is quicker than each alone.

    Returns the last thing that each has said, its error included.
    """
    parts = []
    for name, body in cases.items():
        body = textwrap.indent(textwrap.dedent(body), "    ")
        parts.append(f"try:\n{body}\nexcept Exception as error:\n    answer = repr(error) + str(error)\n")
        parts.append(f"print(repr(({name!r}, answer)))\n")
    printed = Script(folder, "spawn").run("".join(parts))
    return dict(ast.literal_eval(line) for line in printed.splitlines())


@pytest.fixture
def script(tmp_path, request):
    """A script whose farm uses fresh interpreters, or whatever ``both`` says."""
    return Script(tmp_path, request.node.callspec.params["start_method"] if _has_method(request) else "spawn")


def _has_method(request: pytest.FixtureRequest) -> bool:
    return "start_method" in getattr(getattr(request.node, "callspec", None), "params", {})


# -- a worker never imports the user's script -------------------------------------------------------


@both
def test_a_script_needs_no_main_guard(script, start_method):
    """The script runs once, however many processes there are: what it prints is printed once."""
    printed = script.run("""
        print("the script runs")
        def task(x): return x * factor
        factor = 3
        print(farm(task, [1, 2]))
    """)
    assert printed == "the script runs\n[3, 6]"


def test_nothing_else_of_the_script_travels(script):
    """What the task does not name is neither pickled nor in the worker."""
    printed = script.run("""
        import sqlite3
        connection = sqlite3.connect(":memory:")      # cannot be pickled
        other = 1
        class Other: pass
        def unrelated(): return connection
        own = "sys", "main"   # the worker's
        def task(x): return [n for n in globals() if n[0] != "_" and n not in own]
        print(farm(task, [1]))
    """)
    assert printed == "[['task', 'own']]"


# -- 1: what is importable travels by reference -----------------------------------------------------


@both
def test_1_a_module_beside_the_script_is_imported(script, start_method):
    """The worker has the script's ``sys.path``; the module's own globals are the module's."""
    script.module("beside.py", "STATE = [1]\ndef task(x): STATE.append(x); return STATE[0], len(STATE) > 1\n")
    assert script.run("import beside; print(farm(beside.task, [5]))") == "[(1, True)]"
    assert script.run("import beside as b; print(farm(lambda x: b.task(x), [5]))") == "[(1, True)]"


def test_1_a_change_that_the_script_made_to_a_module_does_not_travel(script):
    """A module travels by its name alone."""
    script.module("beside.py", "value = 'as written'\n")
    printed = script.run("""
        import beside
        beside.value = "as changed"
        print(farm(lambda x: beside.value, [0]))
    """)
    assert printed == "['as written']"


def test_1_lambdas_and_closures_of_a_module_travel_though_pickle_refuses_them(script):
    """They go by value, and see the globals of their module in the worker."""
    script.module(
        "beside.py",
        """
        STATE = 5
        plus = lambda x: x + STATE
        def make(n):
            def inner(x): return x + n + STATE
            return inner
        made = make(100)
    """,
    )
    printed = script.run("import beside; print(farm(beside.plus, [1]), farm(beside.made, [1]))")
    assert printed == "[6] [106]"


def test_1_the_path_is_as_the_script_has_left_it(script):
    """``sys.path.append(...)`` at the top of a script is common."""
    (script.folder / "lib").mkdir()
    script.module("lib/tucked_away.py", "def task(x): return x, __name__\n")
    printed = script.run("""
        import sys; sys.path.append("lib")
        import tucked_away
        print(farm(tucked_away.task, [1]))
    """)
    assert printed == "[(1, 'tucked_away')]"


# -- 2: functions and classes travel by value, with what they name ----------------------------------


@both
def test_2_functions_bring_what_they_refer_to_in_turn(script, start_method):
    """A helper's helper, a constant, a module under another name, a function that calls itself."""
    printed = script.run("""
        import math as m
        factor = 2
        def scale(x): return m.floor(x) * factor
        def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
        def helper(x): return scale(x) + factorial(4)
        def task(x): return [helper(each) for each in (x, x + 0.5)]
        print(farm(task, [1]))
    """)
    assert printed == "[[26, 26]]"


KINDS = [
    "lambda x: x + OFFSET",
    "closure(0)",
    "functools.partial(add, 0)",
    "Adder(0)",
    "Adder(0).method",
    "Adder.of_class",
    "Adder.static",
    "Adder",
    "cached",
    "decorated",
    "overloaded",
    "star",
]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """What each kind of task gives for the items 1 and 2."""
    setting = {
        "setting": """
        answer = None
        import functools
        OFFSET = 10
        def add(a, b): return a + b + OFFSET
        def closure(n):
            def inner(x): return x + n + OFFSET
            return inner
        class Adder:
            def __init__(self, n=0): self.n = n
            def __call__(self, x): return self.method(x)
            def method(self, x): return x + self.n + OFFSET
            @classmethod
            def of_class(cls, x): return cls(0)(x)
            @staticmethod
            def static(x): return x + OFFSET
        @functools.lru_cache(maxsize=None)
        def cached(x): return x + OFFSET
        def add_offset(function):
            @functools.wraps(function)
            def wrapper(*args, **kwds): return function(*args, **kwds) + OFFSET
            return wrapper
        @add_offset
        def decorated(x):
            "Doubly ten."
            return x
        @functools.singledispatch
        def overloaded(x): return None
        @overloaded.register
        def _(x: int): return x + OFFSET
        def star(*args, plus=lambda: OFFSET, **kwds): return sum(args) + plus()
    """
    }
    cases = {kind: f"answer = farm({kind}, [1, 2])" for kind in KINDS}
    return answers_of(tmp_path_factory.mktemp("kinds"), setting | cases)


@pytest.mark.parametrize("kind", KINDS)
def test_2_every_kind_of_task_of_a_script_travels(kinds, kind):
    """Whatever can be called; all of these add ten."""
    assert kinds[kind] == [11, 12]


def test_2_an_attribute_is_not_the_global_of_that_name(script):
    """``self.connection`` is not ``connection``, which could not travel at all."""
    printed = script.run("""
        import sqlite3
        connection = sqlite3.connect(":memory:")
        class Thing:
            connection = "mine"
        def task(x): return Thing().connection
        print(farm(task, [1]))
    """)
    assert printed == "['mine']"


def test_2_names_in_nested_functions_comprehensions_and_class_bodies_count(script):
    """Their code is inside the task's code."""
    printed = script.run("""
        A, B, C, D, E = 1, 10, 100, 1000, 10000
        def task(x):
            class Local:
                value = D
                def method(self): return E
            inner, deep = lambda: B, lambda: (lambda: C)()
            return [x + A for _ in range(1)][0] + inner() + deep() + Local.value + Local().method()
        print(farm(task, [0]))
    """)
    assert printed == "[11111]"


def test_2_a_package_brings_the_modules_that_the_code_names(script):
    """``import a.b`` binds ``a`` alone; in the worker ``a.b`` must be there too."""
    printed = script.run("""
        import concurrent.futures
        import xml.dom.minidom
        import xml.sax
        def task(x): return xml.dom.minidom.parseString("<a/>").documentElement.tagName
        def other(x): return (lambda: concurrent.futures.Future().done())()
        def make():
            import xml.etree.ElementTree
            return lambda x: xml.etree.ElementTree.fromstring("<b/>").tag
        print(farm(task, [0]), farm(other, [0]), farm(make(), [0]))
    """)
    assert printed == "['a'] [False] ['b']"


def test_2_the_script_is_itself_in_the_worker(script):
    """``__name__``, ``__file__`` and ``sys.argv`` are those of the script."""
    printed = script.run("""
        import os, sys
        def task(x): return __name__, os.path.basename(__file__), [os.path.basename(a) for a in sys.argv]
        print(farm(task, [0]))
    """)
    assert printed == "[('__main__', 'script.py', ['script.py'])]"


def test_2_generators_coroutines_and_descriptors_of_a_script_travel(script):
    """Functions of other kinds, and objects that know the class they are in."""
    printed = script.run("""
        import asyncio, functools
        N = 3
        def numbers(): yield from range(N)
        async def later(): return N
        class Field:
            def __set_name__(self, owner, name): self.name = name
            def __get__(self, instance, owner): return self.name
        class Record:
            field = Field()
            @property
            def number(self): return N
            @functools.cached_property
            def cached(self): return self.number + 1
        def task(x):
            record = Record()
            return list(numbers()), asyncio.run(later()), record.field, record.number, record.cached
        print(farm(task, [0]))
    """)
    assert printed == "[([0, 1, 2], 3, 'field', 3, 4)]"


# -- 3: one set of globals --------------------------------------------------------------------------


@both
def test_3_functions_share_their_globals(script, start_method):
    """A ``global`` statement in one is seen by all the others, in the same process."""
    printed = script.run("""
        counter = 0
        log = []
        def bump():
            global counter
            counter += 1
            log.append(counter)
        def read(): return counter
        def task(x):
            bump(); bump()
            return read(), counter, log, globals() is __import__("__main__").__dict__
        print(farm(task, [0], poolsize=1))
        print(counter, log)
    """)
    assert printed == "[(2, 2, [1, 2], True)]\n0 []", "or the script's own globals were changed"


def test_3_a_global_that_only_the_worker_makes_is_shared_too(script):
    """A cache that the task fills on first use."""
    printed = script.run("""
        def load():
            global model
            if "model" not in globals(): model = ["loaded"]
            return model
        def task(x):
            load().append(x)
            return len(model)
        print(farm(task, range(3), poolsize=1))
    """)
    assert printed == "[2, 3, 4]"


# -- 4: instances come back as what they are --------------------------------------------------------

CLASSES = {
    "plain": """
        class Thing:
            def __init__(self, x): self.x = x
            def __eq__(self, other): return self.x == other.x
    """,
    "dataclass": """
        import dataclasses
        @dataclasses.dataclass
        class Base:
            x: int
            extra: list = dataclasses.field(default_factory=lambda: [LIMIT])
        @dataclasses.dataclass
        class Thing(Base):
            late: int = dataclasses.field(default=LIMIT, kw_only=True)
            def __post_init__(self):
                assert [f.name for f in dataclasses.fields(self)] == ["x", "extra", "late"]
    """,
    "frozen dataclass with slots": """
        import dataclasses
        @dataclasses.dataclass(frozen=True, slots=True, order=True)
        class Thing:
            x: int
            def __post_init__(self): hash(self), self < self
    """,
    "enum": """
        import enum
        class Thing(enum.Enum):
            ONE = 1
            TWO = 2
            @classmethod
            def _missing_(cls, value): return cls.TWO
            @property
            def double(self): return self.value * 2
        assert Thing(1).double == 2 and Thing(99) is Thing.TWO
    """,
    "enum with methods of its own": """
        import enum
        class Thing(str, enum.Enum):
            ONE = "1"
            TWO = "2"
            def __str__(self): return f"number {self.value}"
            @classmethod
            def _missing_(cls, value): return list(cls)[value - 1]
        def check(x): return str(Thing(x)), Thing(x) is Thing.TWO
        assert farm(check, [2]) == [("number 2", True)]
    """,
    "flag": """
        import enum
        class Thing(enum.IntFlag):
            A = enum.auto()
            B = enum.auto()
    """,
    "namedtuple": """
        import collections
        Thing = collections.namedtuple("Thing", "x y", defaults=[LIMIT])
    """,
    "typing.NamedTuple": """
        import typing
        class Thing(typing.NamedTuple):
            x: int
            y: int = 2
            def total(self): return self.x + self.y + LIMIT
        assert Thing(1).total() == 13
    """,
    "abstract": """
        import abc
        class Abstract(abc.ABC):
            @abc.abstractmethod
            def get(self): ...
            def __eq__(self, other): return self.get() == other.get()
        class Thing(Abstract):
            __slots__ = ("x",)
            def __init__(self, x): self.x = x
            def get(self): return self.x
    """,
    "generic": """
        import typing
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __init__(self, x): self.x = x
            def __eq__(self, other): return self.x == other.x
        class Thing(Box[int]): pass
    """,
    "inheritance with super": """
        class Grand:
            def __init__(self, x): self.x = x
        class Parent(Grand):
            def __init__(self, x): super().__init__(x)
        class Thing(Parent):
            def __init__(self, x): super().__init__(x + LIMIT - 10)
            def __eq__(self, other): return self.x == other.x
    """,
    "exception": """
        class Thing(Exception):
            def __init__(self, x): super().__init__(x)
            def __eq__(self, other): return self.args == other.args
    """,
    "protocol": """
        import typing
        class Readable(typing.Protocol):
            def read(self) -> int: ...
        class Thing(Readable):
            def __init__(self, x): self.x = x
            def read(self): return self.x
            def __eq__(self, other): return self.read() == other.read()
    """,
    "subclass of a builtin": """
        class Thing(dict):
            def __init__(self, x): super().__init__(x=x)
            def __reduce__(self): return Thing, (self["x"],)
    """,
    "metaclass": """
        class Meta(type):
            def __new__(mcs, name, bases, namespace):
                return super().__new__(mcs, name, bases, {**namespace, "limit": LIMIT})
        class Thing(metaclass=Meta):
            def __init__(self, x): self.x = x + self.limit
            def __eq__(self, other): return self.x == other.x
    """,
}


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """What each kind of class gives."""
    end = """
        def task(x): return Thing(x)
        values = farm(task, [1, 2])
        answer = [type(value) is Thing for value in values], values == [Thing(1), Thing(2)]
    """
    cases = {kind: "LIMIT = 10\n" + textwrap.dedent(CLASSES[kind]) + textwrap.dedent(end) for kind in CLASSES}
    return answers_of(tmp_path_factory.mktemp("classes"), cases)


@pytest.mark.parametrize("kind", CLASSES)
def test_4_an_instance_comes_back_as_an_instance_of_that_very_class(classes, kind):
    """So ``isinstance`` holds, and an enum's members are the script's own."""
    assert classes[kind] == ([True, True], True)


@both
def test_4_nested_classes_and_classes_inside_results_come_back(script, start_method):
    """Pickle finds ``Outer.Inner`` through ``Outer``; a class itself may be the result."""
    printed = script.run("""
        class Outer:
            class Inner:
                pass
        def task(x): return {"list": [Outer.Inner()], "class": Outer, "function": task}
        value, = farm(task, [0])
        print(type(value["list"][0]) is Outer.Inner, value["class"] is Outer, value["function"] is task)
    """)
    assert printed == "True True True"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="newer syntax")
def test_4_generic_classes_and_functions_of_the_newer_syntax_travel(script):
    """Their type variables are in no module."""
    printed = script.run("""
        class Box[T]:
            def __init__(self, x: T): self.x = x
        class Thing(Box[int]): pass
        type Things = list[Thing]
        def first[T](xs: list[T]) -> T: return xs[0]
        def task(x) -> Things: return [Thing(first([x]))]
        value, = farm(task, [5])
        print(type(value[0]) is Thing, value[0].x)
    """)
    assert printed == "True 5"


def test_4_names_in_annotations_travel(script):
    """They are part of the function, of whatever kind they are."""
    printed = script.run("""
        import typing
        UserId = typing.NewType("UserId", int)
        T = typing.TypeVar("T", bound="Thing")
        Pair = tuple[UserId, UserId]
        class Thing(typing.TypedDict):
            x: UserId
        def task(x: UserId, *, more: T = None) -> Thing | Pair: return Thing(x=UserId(x))
        print(farm(task, [5]))
    """)
    assert printed == "[{'x': 5}]"


def test_4_classes_that_enter_themselves_in_a_registry_travel(script):
    """Code of a class that runs while the class is made finds what it needs."""
    printed = script.run("""
        REGISTRY = {}
        def enter(cls): REGISTRY[cls.__name__] = cls
        class Base:
            def __init_subclass__(cls, **kwds):
                super().__init_subclass__(**kwds)
                enter(cls)
        class One(Base): pass
        class Two(Base): pass
        def task(name): return REGISTRY[name](), len(REGISTRY)
        (one, _), (two, number) = farm(task, ["One", "Two"])
        print(type(one) is One, type(two) is Two, number)
    """)
    assert printed == "True True 2"


def test_4_an_object_whose_loading_runs_code_of_the_script_travels(script):
    """``__setstate__``, ``__reduce__`` and ``__hash__`` run before the task does."""
    printed = script.run("""
        LIMIT = 3
        def helper(x): return x + LIMIT
        def remake(x): return Reduced(helper(x) - LIMIT)
        class Reduced:
            def __init__(self, x): self.x = x
            def __reduce__(self): return remake, (self.x,)
        class Key:
            def __hash__(self): return helper(1)
            def __eq__(self, other): return helper(1) == 4
        class Task:
            def __init__(self): self.parts = {Key(): Reduced(5)}
            def __getstate__(self): return dict(self.__dict__)
            def __setstate__(self, state): self.__dict__.update(state); self.ready = helper(0)
            def __call__(self, x): return self.parts[Key()].x, self.ready
        print(farm(Task(), [0]))
    """)
    assert printed == "[(5, 3)]"


# -- 5: words in strings ----------------------------------------------------------------------------


def test_5_a_constant_that_only_an_equation_names_travels(script):
    """A simulator looks its names up where the task runs, as Brian 2 does."""
    printed = script.run("""
        import inspect
        tau = 10.0
        rest = -70.0
        eqs = "dv/dt = (rest - v) / tau : volt"
        tau_unused = object()
        def simulate(equations):
            names = inspect.currentframe().f_back.f_globals
            return {name: names[name] for name in ("rest", "tau") if name in equations}
        def named(x): return simulate("v = rest / tau")
        def through_a_global(x): return simulate(eqs)
        print(farm(named, [0]), farm(through_a_global, [0]))
    """)
    assert printed == "[{'rest': -70.0, 'tau': 10.0}] [{'rest': -70.0, 'tau': 10.0}]"


def test_5_a_word_that_names_something_large_or_unpicklable_does_no_harm(script):
    """It is a guess; a docstring is no string of the task, and no function is meant."""
    printed = script.run('''
        import sqlite3
        connection = sqlite3.connect(":memory:")
        big = b"x" * (1 << 21)
        small = 1
        unwanted = 2
        def function(): return connection
        def task(x):
            """unwanted"""
            text = "connection big small function"
            return sorted({"connection", "big", "small", "function", "unwanted"} & set(globals()))
        print(farm(task, [0]))
    ''')
    assert printed == "[['small', 'unwanted']]", "`unwanted` is in a string beside the docstring"
    printed = script.run('''
        unwanted = 2
        def task(x):
            """unwanted"""
            return len(set(globals()) & {chr(117) + "nwanted"})
        print(farm(task, [0]))
    ''')
    assert printed == "[0]"


# -- 6: classes of items ----------------------------------------------------------------------------


@both
def test_6_an_item_brings_its_class_though_the_task_never_names_it(script, start_method):
    """Before the item, to every process; also when that class appears late in a generator."""
    printed = script.run("""
        import dataclasses, enum
        @dataclasses.dataclass
        class Point:
            x: int
            def double(self): return self.x * FACTOR
        FACTOR = 2
        class Mode(enum.Enum):
            FAST = 1
            def double(self): return 22
        def double(x): return x * 2
        class Late:
            def double(self): return helper()
        def helper(): return 33
        def items():
            yield Point(1)
            yield Mode.FAST
            for k in range(100): yield Point(k)
            yield Late()
        values = farm(lambda item: item.double(), items())
        print(values[:2], values[2:102] == [2 * k for k in range(100)], values[-1])
        print(farm(lambda f, x: f(x), [(double, 4), (lambda x: double(x) + FACTOR, 4)]))
    """)
    assert printed == "[2, 22] True 33\n[8, 10]"


def test_6_a_new_process_learns_the_classes_of_earlier_items(script):
    """One that replaces another has the same names."""
    printed = script.run("""
        class Point:
            def __init__(self, x): self.x = x
        print(farm(lambda item: item.x, [Point(k) for k in range(7)], recycle=2))
    """)
    assert printed == "[0, 1, 2, 3, 4, 5, 6]"


# -- 7: what cannot be pickled is named -------------------------------------------------------------


CULPRITS = {
    "lambda x: connection": "the global 'connection'",
    "lambda x: indirect()": "the global 'connection'",
    "closure()": "the closure variable 'mine' of the task",
    "Holder()": "the task.inner['one']",
    "functools.partial(print, Holder())": "the task.args[0].inner['one']",
    "functools.partial(print, end=connection)": "the task.keywords['end']",
    "Holder().method": "the object of the task.inner['one']",
    "(lambda x, d=connection: d)": "default argument 0 of the task",
    "(lambda x, *, d=connection: d)": "default argument 'd' of the task",
    "ClassHolder": "the task.shared",
    "Slotted()": "the task.one",
    "lambda x: Made.ONE": "the global 'Made': ",
    "lambda x: MISSING": "the global 'MISSING': ",
    "Task, initargs=(1, connection)": "the task.initargs[1]",
    "Task, initkwds=dict(a=connection)": "the task.initkwds['a']",
}


@pytest.fixture(scope="module")
def culprits(tmp_path_factory):
    """The error of each task that cannot travel."""
    setting = {
        "setting": """
        answer = None
        import enum, functools, sqlite3
        connection = sqlite3.connect(":memory:")
        def indirect(): return connection
        def closure():
            mine = connection
            return lambda x: mine
        class Holder:
            def __init__(self): self.number, self.inner = 1, dict(one=sqlite3.connect(":memory:"))
            def __call__(self, x): pass
            def method(self, x): pass
        class ClassHolder:
            shared = connection
            def __call__(self, x): pass
        class Slotted:
            __slots__ = ("one",)
            def __init__(self): self.one = sqlite3.connect(":memory:")
            def __call__(self, x): pass
        class Made(bytes, enum.Enum):
            ONE = 1, "one"
            def __new__(cls, number, label):
                member = bytes.__new__(cls, [number])
                member._value_, member.label = number, label
                return member
            @classmethod
            def _missing_(cls, value): return cls.ONE
        class Known:
            def __reduce__(self): return "MISSING"
        MISSING = Known()
        class Task:
            def __init__(self, *args, **kwds): pass
            def __call__(self, x): pass
    """
    }
    cases = {task: f"answer = farm({task}, items=[1])" for task in CULPRITS}
    return answers_of(tmp_path_factory.mktemp("culprits"), setting | cases)


@pytest.mark.parametrize("task", CULPRITS)
def test_7_what_cannot_be_pickled_is_named(culprits, task):
    """As the user would find it in the script; and the error says what to do instead."""
    said = culprits[task]
    assert said.startswith("TaskNotPicklable")
    assert f"cannot be sent to another process because of {CULPRITS[task]}" in said
    why = {"Made": "an enum with a __new__ of its own", "MISSING": "known by its name alone"}
    assert why.get(task.split()[-1].split(".")[0], "cannot pickle 'sqlite3.Connection' object") in said
    assert "Create it inside the task" in said


def test_7_a_fork_needs_no_pickle(script):
    """What the error advises does work."""
    printed = script.run("""
        import sqlite3
        connection = sqlite3.connect(":memory:")
        print(farm(lambda x: connection.execute("select 42").fetchone()[0], [1], start_method="fork"))
    """)
    assert printed == "[42]"


# -- 8: locks --------------------------------------------------------------------------------------


def test_8_a_lock_travels_as_a_new_one(script):
    """The script holds its own meanwhile; the task would wait for ever. Also inside other objects."""
    printed = script.run("""
        import functools, threading
        class Model:
            def __init__(self): self.lock, self.again = threading.Lock(), threading.RLock()
            @functools.cached_property      # has a lock in Python 3.11
            def loaded(self): return 5
            def __call__(self, x):
                with self.lock, self.again, self.again: return self.loaded * x
        model = Model()
        with model.lock, model.again: print(farm(model, [2]))
    """)
    assert printed == "[10]"


# -- 9: names of libraries ---------------------------------------------------------------------------

LIBRARY = """
    class Settings:
        speed = 1
        check = staticmethod(lambda speed: speed > 0)       # which pickle refuses
        def __init__(self): self.seen = []
        def note(self, what): self.seen.append(what); return self.seen
    settings = Settings()
    note = settings.note
    LIMITS = [1, 2]
    def made():
        def function(x): return x, settings.speed
        return function
    function = made()
    def speed(): return settings.speed
"""


@both
def test_9_what_a_star_has_imported_is_the_librarys_own(script, start_method):
    """What the task sets, the library sees, under whatever name the script knows it."""
    script.module("site-packages/library.py", LIBRARY)
    printed = script.run("""
        import sys; sys.path.append("site-packages")
        from library import *
        from library import settings as known, note as tell
        within = {"settings": settings}
        def task(x):
            import library
            settings.speed = x
            tell("a")
            return (library.speed(), known is settings is within["settings"] is library.settings, function(1),
                    function is library.function, note("b"), LIMITS)
        print(farm(task, [5]))
    """)
    assert printed == "[(5, True, (1, 5), True, ['a', 'b'], [1, 2])]"


def test_9_instances_of_the_authors_own_modules_travel_by_value(script):
    """A script that imports its parameters and changes them means the changed ones. So with plain values."""
    script.module("site-packages/library.py", LIBRARY)
    script.module("own.py", "class P: pass\nparameters = P(); parameters.tau = 1\nlimits = [1]\n")
    printed = script.run("""
        import sys; sys.path.append("site-packages")
        from library import *
        from own import *
        parameters.tau = 2; LIMITS.append(3); limits.append(2)
        print(farm(lambda x: (parameters.tau, LIMITS, limits), [0]))
    """)
    assert printed == "[(2, [1, 2, 3], [1, 2])]"


def test_9_modules_that_nobody_needed_yet_stay_unloaded(script):
    """To look into one of ``importlib.util.LazyLoader`` would load it, or fail to."""
    script.module("site-packages/library.py", LIBRARY)
    script.module("lazy.py", "raise ImportError('it needs what is not installed')")
    printed = script.run("""
        import importlib.util, sys; sys.path.append("site-packages")
        from library import *
        spec = importlib.util.find_spec("lazy")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        sys.modules["lazy"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["lazy"])
        print(farm(lambda x: settings.speed, [0]))
    """)
    assert printed == "[1]"


def test_9_a_random_function_draws_from_its_modules_generator(script):
    """A copy would give each process the numbers that the script would have drawn next."""
    printed = script.run("""
        from random import random, gauss as draw
        class Task:
            def __call__(self, x):
                import random as module
                module.seed(x)
                here = random(), draw()
                module.seed(x)
                return here == (module.random(), module.gauss())
        print(farm(Task, [1, 2]))
    """)
    assert printed == "[True, True]"


def test_9_what_the_script_has_put_into_a_module_is_the_scripts(script):
    """Its functions and classes are not in the module of a worker."""
    printed = script.run("""
        import string
        def deeper(x): return x + 1
        class Own: value = 1
        own = Own()
        string.deeper, string.own = deeper, own
        print(farm(lambda x: deeper(x) + own.value, [1]))
    """)
    assert printed == "[3]"


# -- errors of the script ---------------------------------------------------------------------------


@both
def test_an_exception_of_the_script_is_told_as_text(script, start_method):
    """Its class is never unpickled in the parent, so that it may be as odd as it likes."""
    printed = script.run("""
        class Odd(Exception):
            def __init__(self, a, b): super().__init__(a); self.b = b     # cannot be unpickled
            def __str__(self): return f"odd {self.b}"
        def task(x): raise Odd(1, x)
        try: farm(task, [5])
        except TasksFailed as error: print(error.summary.failures[0].error)
    """)
    assert printed == "Odd: odd 5"


def test_the_traceback_shows_the_lines_of_the_script(script):
    """The function is a copy, but its source is still the file."""
    printed = script.run("""
        def helper(x): return 1 / x  # here
        def task(x): return helper(x)
        try: farm(task, [0])
        except TasksFailed as error: print(error)
    """)
    assert "def helper(x): return 1 / x  # here" in printed
    assert "ZeroDivisionError" in printed
    assert "farmhand" not in printed.split("Traceback")[1].split("ZeroDivisionError")[0]


# -- other ways to run code -------------------------------------------------------------------------

BODY = """
class Point:
    def __init__(self, x): self.x = x
OFFSET = 1
def task(p): return Point(p.x + OFFSET)
print([type(p) is Point and p.x for p in farm(task, [Point(k) for k in range(5)])])
"""
PRINTED = "[1, 2, 3, 4, 5]"


@both
def test_a_script_on_standard_input_works(script, start_method):
    """``python - < script.py``: there is no file to import."""
    assert script.python("-", stdin=script.source(BODY)) == PRINTED


@both
def test_a_script_on_the_command_line_works(script, start_method):
    """``python -c '...'``"""
    assert script.python("-c", script.source(BODY)) == PRINTED


@both
def test_a_module_run_with_m_works(script, start_method):
    """``python -m package.module``, with imports relative to the package, also inside functions."""
    script.module("package/__init__.py", "")
    script.module("package/other.py", "OFFSET = 1\ndef same(x): return x\n")
    body = script.source(BODY).replace("OFFSET = 1\n", "from . import other\n")
    body = body.replace("p.x + OFFSET)", "p.x + other.OFFSET + inner())").replace(
        "def task", "def inner():\n    from .other import same\n    return same(0)\ndef task"
    )
    script.module("package/module.py", body)
    assert script.python("-m", "package.module") == PRINTED


def test_what_is_typed_into_a_session_works(script):
    """``python -i``: functions of a session have no file."""
    lines = (
        script.source(BODY).replace("\nclass Point", "\n\nclass Point").replace("OFFSET = 1", "\nOFFSET = 1")
    )
    lines = lines.replace("\nprint(", "\n\nprint(").replace("def farm", "\ndef farm") + "\n"
    printed = script.python("-i", "-q", stdin=lines)
    assert PRINTED in printed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a terminal")
def test_what_is_typed_at_a_terminal_works(script):
    """The interactive interpreter itself, with its prompts."""
    import pty

    lines = ["from farmhand import *", "offset = 1", "def task(x): return x + offset", ""]
    lines += ["store = open_store(':memory:')"]
    lines += [
        "r = run_tasks(store, task, range(3), gui=False, progress='none')",
        "print('got', store.values())",
    ]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHON_BASIC_REPL": "1", "TERM": "dumb"}
    session = subprocess.Popen(
        [sys.executable, "-q"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=script.folder, env=environment
    )
    os.close(theirs)
    try:
        os.write(ours, "".join(line + "\n" for line in [*lines, "exit()"]).encode())
        printed = b""
        while b"got [1, 2, 3]" not in printed:
            printed += os.read(ours, 4096)
        assert session.wait(DEADLINE) == 0
    finally:
        session.kill()
        session.wait()
        os.close(ours)


def test_a_task_may_run_a_farm_of_its_own(script):
    """The worker's ``__main__`` is then the script of the inner farm."""
    printed = script.run("""
        offset = 1
        def inner(x): return x + offset
        def task(x): return farm(inner, range(x))
        print(farm(task, [1, 3]))
    """)
    assert printed == "[[1], [1, 2, 3]]"


def test_two_farms_in_one_script_do_not_disturb_each_other(script):
    """What has changed in between is sent anew."""
    printed = script.run("""
        factor = 1
        def task(x): return x * factor
        print(farm(task, [1, 2]))
        factor = 10
        print(farm(task, [1, 2]))
        def task(x): return -x * factor
        print(farm(task, [1, 2]))
    """)
    assert printed == "[1, 2]\n[10, 20]\n[-10, -20]"
