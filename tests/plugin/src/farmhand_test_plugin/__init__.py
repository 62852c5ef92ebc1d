"""A plugin of farmhand, as somebody else would write it; it uses the documented names alone."""

from farmhand import hookimpl


def open_folder(path, **options):
    from farmhand_test_plugin.store import CsvStore

    return CsvStore(path, **options)


def make_recorder(options):
    from farmhand_test_plugin.frontend import Recorder

    return Recorder(options)


@hookimpl
def farmhand_stores():
    """``open_store('rates.csvs')``: a folder of CSV files."""
    return {".csvs": open_folder}


@hookimpl
def farmhand_frontends():
    """``progress='record:seen.jsonl'``: each snapshot as a line of JSON."""
    return {"record": make_recorder}
