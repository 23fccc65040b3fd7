"""What is loaded stays to the end: to look for garbage in it, again and again, takes a tenth of the time."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Look for no garbage while this loads, nor later in what was loaded; forks then share its memory, too."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
