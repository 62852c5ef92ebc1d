"""A plugin of farmhand, as somebody else would write it; it uses the documented names alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from farmhand import hookimpl

if TYPE_CHECKING:
    from farmhand.progress import Frontend, FrontendOptions
    from farmhand.store import DataManager


def open_folder(path: Path) -> DataManager:
    from farmhand_test_plugin.store import CsvStore

    return CsvStore(path)


def make_recorder(options: FrontendOptions) -> Frontend:
    from farmhand_test_plugin.frontend import Recorder

    return Recorder(options)


@hookimpl
def farmhand_stores() -> Mapping[str, Callable[..., DataManager]]:
    """``open_store('rates.csvs')``: a folder of CSV files."""
    return {".csvs": open_folder}


@hookimpl
def farmhand_frontends() -> Mapping[str, Callable[[FrontendOptions], Frontend]]:
    """``progress='record:seen.jsonl'``: each snapshot as a line of JSON."""
    return {"record": make_recorder}
