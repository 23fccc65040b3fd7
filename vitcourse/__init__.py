"""Tools around the course: traces, checks, data, training, pictures, and the command `vitcourse`.

Importing this package imports no torch.
"""

import os
from typing import Any

# Idle OpenMP threads that spin take the core from the one that works, when cores are shared: a training step of 90 ms
# was seen to take up to 1,783 ms. OpenMP reads this when torch is loaded, so it is set before; a user's setting wins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"


def load_ipython_extension(shell: Any) -> None:
    """Let a notebook check, trace and train: what `%load_ext vitcourse` calls."""
    from vitcourse.jupyter.magics import register

    register(shell)


def __getattr__(name: str) -> Any:
    """Public names that need torch are imported when they are asked for."""
    if name == "load_trained":
        from vitcourse.training.trained import load_trained

        return load_trained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
