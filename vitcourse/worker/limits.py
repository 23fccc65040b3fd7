"""How much a check may take: memory and written bytes, so that a learner's mistake stays a verdict.

Where the system has no such limits (Windows; macOS has none on memory), `missing` says so and nothing is limited.
"""

import sys
from pathlib import Path

MEMORY = 4 * 2**30  # bytes, on top of what Python and torch take themselves
OUTPUT = 64 * 2**20  # bytes of one file, a captured output among them


def missing() -> list[str]:
    """The limits that this system lacks, in words."""
    if sys.platform == "win32":
        return ["memory", "output"]
    return [] if sys.platform == "linux" else ["memory"]


def limit() -> None:
    """Limit this process, and all that it starts. Call it once torch is loaded: its libraries count too."""
    if sys.platform == "win32":
        return
    import resource

    _lower(resource.RLIMIT_FSIZE, OUTPUT)
    _lower(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY)


def _lower(kind: int, most: int) -> None:
    import resource

    soft, hard = resource.getrlimit(kind)
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(kind, (most, hard))
