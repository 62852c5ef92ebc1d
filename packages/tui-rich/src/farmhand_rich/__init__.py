"""Live progress of farmhand with rich: this module only says so; ``farmhand_rich.frontend`` draws it."""

from __future__ import annotations

from collections.abc import Mapping

from farmhand import hookimpl
from farmhand.progress import Frontend, FrontendOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from farmhand.hookspecs import MakeFrontend

__all__ = ["farmhand_frontends", "make_display"]


def make_display(options: FrontendOptions) -> Frontend:
    """Draw in the terminal, or in the notebook, that this process runs in."""
    from farmhand_rich.frontend import RichFrontend  # only once it is wanted

    return RichFrontend(options)


@hookimpl
def farmhand_frontends() -> Mapping[str, MakeFrontend]:
    """The frontend ``'rich'``."""
    return {"rich": make_display}
