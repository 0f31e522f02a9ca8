"""How much memory there is, for limits on what files ask for."""

import os
import re
from pathlib import Path

_UNKNOWN = 4 << 30  # where the system does not say
# A container's limit and what it uses, by the two versions of Linux' control groups.
_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def available_bytes() -> int:
    """Bytes that a program may still take: of the machine, its container and its own limit.

    Where the system does not say what is free, half of its memory; 4 GiB where it says nothing.
    """
    return max(0, min(_of_machine(), *_of_limits()))


def _of_machine() -> int:
    match = re.search(r"MemAvailable:\s*(\d{1,15}) kB", _text("/proc/meminfo"))
    if match:
        return int(match[1]) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _of_limits() -> list[int]:
    found = [1 << 62]
    for folder, limit, used in _GROUPS:
        words = _text(f"{folder}/{limit}").strip(), _text(f"{folder}/{used}").strip()
        if all(word.isdecimal() for word in words):
            cached = re.findall(
                r"^(?:in)?active_file (\d{1,18})$", _text(f"{folder}/memory.stat"), re.MULTILINE
            )
            found.append(int(words[0]) - int(words[1]) + sum(map(int, cached)))
    try:
        import resource
    except ImportError:  # Windows
        return found
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text("/proc/self/statm").split()
    if most != resource.RLIM_INFINITY and pages:
        found.append(most - int(pages[0]) * resource.getpagesize())
    return found


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
