"""What goes wrong with compiled simulations."""

from __future__ import annotations

__all__ = ["CompilationFailed", "SimulationFailed"]


class CompilationFailed(RuntimeError):
    """The C++ program of a model could not be made.

    Parameters
    ----------
    reason : str
        What ended, and how.
    output : str
        The end of what the compiler said.
    directory : str
        Where the sources are; the directory is kept.
    """

    def __init__(self, reason: str, output: str, directory: str) -> None:
        super().__init__(reason, output, directory)

    def __str__(self) -> str:
        reason, output, directory = self.args
        text = f"the C++ program of the model could not be made: {reason}. Its sources are in {directory}"
        return f"{text}\n\n{output.rstrip()}" if output.strip() else text


class SimulationFailed(RuntimeError):
    """The C++ program of a model has ended in another way than it should.

    Parameters
    ----------
    how : str
        How it ended: ``'signal 11 (SIGSEGV)'``, ``'exit code 1'``.
    command : str
        What to type to run it again.
    kept : bool
        Whether its files are still there for that.
    """

    def __init__(self, how: str, command: str, kept: bool = True) -> None:
        super().__init__(how, command, kept)
        self.kept = kept

    def __str__(self) -> str:
        how, command, kept = self.args
        text = f"the compiled simulation ended with {how}; what it printed is the output of this item"
        return f"{text}. To run it again: {command}" if kept else text
