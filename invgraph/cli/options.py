"""Options of commands, as their help shows them."""

from typing import Any

import tyro


def option(metavar: str, name: str | None = None) -> Any:
    """For ``Annotated``: an option that may be left out, of which the docstring says what then.

    Args:
        metavar: what is to be given.
        name: of the option, where that is not the parameter's.
    """
    return tyro.conf.arg(name=name, metavar=metavar, help_behavior_hint="")
