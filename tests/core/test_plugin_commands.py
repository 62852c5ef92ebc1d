"""The words of the command line that plugins bring, and what a plugin that fails does to the others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from waiting import DEADLINE

GREET = """
    import sys
    import farmhand

    def make(parser):
        parser.description = "Greet 100% of a store. Then no more."
        parser.add_argument("store")
        parser.add_argument("--loud", action="store_true")
        return greet

    def greet(options):
        if options.store == "nothing":
            raise farmhand.UsageError("there is nothing to greet")
        if options.store == "file":
            open("no/such/file")
        sys.stdout.write("HELLO" if options.loud else "hello")
        return 7

    @farmhand.hookimpl
    def farmhand_commands():
        return {"greet": make}
"""
FAILS = "import farmhand\n@farmhand.hookimpl\ndef farmhand_commands(): return 1 / 0"
SHY = """
    import farmhand

    @farmhand.hookimpl
    def farmhand_commands():
        return {"shy": lambda parser: 1 / 0}
"""


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch):
    """Only what a test installs is installed, whatever this Python has."""
    from farmhand import entrypoints

    found = entrypoints.entry_points
    ours = {"polite", "other", "clumsy", "shy", "thief", "broken"}
    monkeypatch.setattr(
        "farmhand.entrypoints.entry_points",
        lambda group: [(name, value) for name, value in found(group) if name in ours],
    )


def test_a_plugin_brings_a_command(plugins, farmhand):
    """It gets what was typed behind it, and its exit status is that of the whole."""
    plugins(polite=GREET)
    assert farmhand("greet", "a.db", "--loud") == (7, "HELLO", "")
    status, out, _ = farmhand("greet", "--help")
    assert status == 0
    assert out.startswith("usage: farmhand greet [-h] [--loud] store\n\nGreet 100% of a store. Then no more.")
    status, out, err = farmhand("greet")
    assert (status, out) == (2, "")
    assert "farmhand greet: error: the following arguments are required: store" in err


def test_the_help_tells_of_it_with_the_first_sentence_of_its_description(plugins, farmhand):
    """Nobody finds a command that the help does not have."""
    plugins(polite=GREET)
    assert "    greet     greet 100% of a store\n" in farmhand("--help")[1]


@pytest.mark.parametrize(
    ("store", "said"), [("nothing", "there is nothing to greet"), ("file", "no/such/file: No")]
)
def test_an_error_of_a_command_is_one_line_as_for_any_other(plugins, farmhand, store, said):
    """Whoever types a command wants no trace of the stack."""
    plugins(polite=GREET)
    status, out, err = farmhand("greet", store)
    assert (status, out) == (2, "")
    assert err.startswith(f"farmhand: {said}")
    assert err.count("\n") == 1


def test_two_plugins_with_one_command_are_both_named(plugins, farmhand):
    """Neither is preferred silently."""
    plugins(polite=GREET, other=GREET)
    status, _, err = farmhand("greet", "a.db")
    assert status == 2
    assert "'polite'" in err
    assert "'other'" in err
    assert "both provide 'greet' (farmhand_commands); uninstall one of them" in err


def test_a_plugin_cannot_take_a_command_of_farmhands_own(plugins, farmhand):
    """Found as soon as plugins are looked at; what is typed is still farmhand's own."""
    plugins(thief=GREET.replace('"greet"', '"status"'))
    status, _, err = farmhand("gret", "a.db")
    assert status == 2
    assert "plugins 'farmhand' and 'thief' both provide 'status' (farmhand_commands)" in err
    assert "there is no store" in farmhand("status", "a.db")[2]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (FAILS, "plugin 'clumsy' failed in its hook farmhand_commands: ZeroDivisionError"),
        (SHY, "plugin 'clumsy' could not make its command 'shy': ZeroDivisionError"),
        (
            "raise RuntimeError('no')",
            "plugin 'clumsy' (clumsy) could not be loaded and is skipped: RuntimeError",
        ),
        (GREET.replace('"greet"', '"status"'), "plugins 'farmhand' and 'clumsy' both provide 'status'"),
    ],
    ids=["hook", "maker", "import", "clash"],
)
@pytest.mark.filterwarnings("default:farmhand plugin:RuntimeWarning")
def test_the_help_does_without_a_plugin_that_fails(plugins, farmhand, broken, said):
    """It is named; the commands of farmhand and of the others are there."""
    plugins(clumsy=broken, polite=GREET)
    status, out, err = farmhand("--help")
    assert status == 0
    assert "greet " in out
    assert "vacuum " in out
    assert "shy" not in out
    assert said in err
    assert err.count("\n") == 1


def test_a_command_that_cannot_be_made_is_one_line_that_names_the_plugin(plugins, farmhand):
    """Its authors must know."""
    plugins(shy=SHY)
    status, out, err = farmhand("shy")
    assert (status, out) == (2, "")
    assert err.startswith("farmhand: plugin 'shy' could not make its command 'shy': ZeroDivisionError: ")
    assert err.count("\n") == 1


def test_a_command_of_a_plugin_that_is_not_installed_says_what_to_install(farmhand):
    """``farmhand plot`` is in the documentation, so somebody types it."""
    status, out, err = farmhand("plot", "rates.db")
    assert (status, out) == (2, "")
    assert "no command is called 'plot'" in err
    assert "pip install farmhand-plot" in err


def test_a_word_that_nobody_knows_is_an_error_that_lists_all(plugins, farmhand):
    """Those of plugins, too."""
    plugins(polite=GREET)
    status, _, err = farmhand("gret")
    assert status == 2
    assert "invalid choice: 'gret'" in err
    assert "'greet'" in err
    assert "'vacuum'" in err


def test_for_a_command_of_farmhands_own_no_plugin_is_looked_for():
    """The search, and pluggy with it, takes longer than most commands."""
    code = "import sys; from farmhand.cli import main\n"
    code += "main(['status', '--help']); print('pluggy' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=DEADLINE
    )
    assert ran.stdout.splitlines()[-1] == "False"
