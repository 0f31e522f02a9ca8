"""Where decoded videos are kept between runs."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``$INVGRAPH_CACHE`` if set, else ``invgraph`` in the user's cache folder.

    That is ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux, ``~/Library/Caches`` on macOS and
    ``%LOCALAPPDATA%`` on Windows. Everything below it may be deleted at any time.
    """
    chosen = os.environ.get("INVGRAPH_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "invgraph"
