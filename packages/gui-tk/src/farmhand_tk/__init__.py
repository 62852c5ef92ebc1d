"""The window of farmhand: this module only says so; ``farmhand_tk.frontend`` opens it."""

from __future__ import annotations

from collections.abc import Mapping

from farmhand import hookimpl
from farmhand.progress import Frontend, FrontendOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from farmhand.hookspecs import MakeFrontend

__all__ = ["farmhand_frontends", "make_window"]


def make_window(options: FrontendOptions) -> Frontend:
    """Open the window, in a process of its own."""
    from farmhand_tk.frontend import TkFrontend  # only once it is wanted

    return TkFrontend(options)


@hookimpl
def farmhand_frontends() -> Mapping[str, MakeFrontend]:
    """The frontend ``'tk'``."""
    return {"tk": make_window}
