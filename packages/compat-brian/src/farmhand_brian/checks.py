"""What a compiled program is made to check beside what Brian has it check; the C++ half is ``checks.h``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["HEADER", "INCOMPLETE", "check_parameters", "check_results"]

HEADER = Path(__file__).with_name("checks.h")
INCOMPLETE = 74  # the exit code of a program that could not write all its results; EX_IOERR in sysexits.h

_SET = "set_from_command_line(args);"  # Brian's line that sets the parameters


def check_parameters(queue: list[Any]) -> None:
    """Have the program end where a parameter cannot be set, instead of going on without it.

    Parameters
    ----------
    queue : list
        Brian's instructions for the main function; they are changed.
    """
    checked = f"{{ farmhand::Parameters _farmhand_parameters; {_SET} }}"
    for place, (kind, details) in enumerate(queue):
        if kind == "insert_code" and details == _SET:
            queue[place] = kind, checked
        elif kind == "run_network":
            lines = details[1]
            lines[:] = [checked if line == _SET else line for line in lines]


def check_results(device: Any) -> None:
    """Have the program end with :data:`INCOMPLETE` where a file of results is shorter than it should be."""
    expected = ["farmhand::Results _farmhand_results(brian::results_dir);"]
    for variable, name in sorted(device.arrays.items(), key=lambda pair: str(pair[1])):
        if variable in device.dynamic_arrays:
            name = device.dynamic_arrays[variable]
            count = f"brian::{name}.size()"
            element = f"brian::{name}[0]"
        elif variable in device.dynamic_arrays_2d:
            name = device.dynamic_arrays_2d[variable]
            count = f"size_t(brian::{name}.n) * brian::{name}.m"
            element = f"brian::{name}(0, 0)"
        else:
            count, element = f"size_t({variable.size})", f"brian::{name}[0]"
        file = device.get_array_filename(variable)
        expected.append(f'_farmhand_results.expect("{file}", {count} * sizeof({element}));')
    device.insert_code("before_end", "\n".join(expected))
    device.insert_code("after_end", f"if (!_farmhand_results.are_whole()) return {INCOMPLETE};")
