"""A plugin of farmhand, as somebody else would write it; it uses the documented names alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from farmhand import hookimpl

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from farmhand.progress import Frontend, FrontendOptions
    from farmhand.store import DataManager


def open_folder(path: Path) -> DataManager:
    from farmhand_test_plugin.store import CsvStore

    return CsvStore(path)


def make_recorder(options: FrontendOptions) -> Frontend:
    from farmhand_test_plugin.frontend import Recorder

    return Recorder(options)


def make_hours(parser: ArgumentParser) -> Callable[[Namespace], int]:
    from farmhand_test_plugin.command import add_arguments, hours

    add_arguments(parser)
    return hours


@hookimpl
def farmhand_stores() -> Mapping[str, Callable[..., DataManager]]:
    """``open_store('rates.csvs')``: a folder of CSV files."""
    return {".csvs": open_folder}


@hookimpl
def farmhand_frontends() -> Mapping[str, Callable[[FrontendOptions], Frontend]]:
    """``progress='record:seen.jsonl'``: each snapshot as a line of JSON."""
    return {"record": make_recorder}


@hookimpl
def farmhand_commands() -> Mapping[str, Callable[[ArgumentParser], Callable[[Namespace], int]]]:
    """``farmhand hours STORE``: how long the items of each task took, all together."""
    return {"hours": make_hours}
