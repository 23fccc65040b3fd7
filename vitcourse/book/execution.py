"""Runs the notebooks that are to be read, several at a time, before Sphinx reads them one by one.

Jupyter Book alone runs each where it reads it, so that all but one processor wait. What runs well here is in its cache
when it comes to the page; what fails is left to it, and so are the words for that.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

if sys.platform == "linux":
    from vitcourse.book.kernels import forked
else:  # where what has loaded torch can't be forked, kernels start as ever
    from contextlib import nullcontext as forked

logger = logging.getLogger(__name__)

AT_ONCE = 4  # each takes memory, beside torch's, which they share


def run_ahead(app: Sphinx, env: BuildEnvironment, docnames: Sequence[str]) -> None:
    """Run what of these pages has cells and isn't in the cache."""
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    cache = get_cache(app.config.nb_execution_cache_path)
    waiting = [(path, notebook) for path, notebook in _notebooks(env, docnames) if not _is_cached(cache, notebook)]
    workers = min(os.cpu_count() or 1, AT_ONCE, len(waiting))
    if workers < 2:
        return
    timeout = app.config.nb_execution_timeout
    # The longest first, so that none is left alone at the end; the length of the source is near enough.
    waiting.sort(key=lambda item: -sum(len(cell.source) for cell in item[1].cells if cell.cell_type == "code"))
    # Each kernel computes on its share of the processors, unless the user has said how many threads it may take.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // workers, 1)))
    with forked(), ThreadPoolExecutor(workers) as pool:
        runs = [(path, pool.submit(_run, path, notebook, timeout)) for path, notebook in waiting]
        for path, run in runs:
            result = run.result()
            if result.err is None:
                data = {"execution_seconds": result.time}
                cache.cache_notebook_bundle(CacheBundleIn(result.nb, str(path), data=data), check_validity=False)
                logger.info("ran %s in %.0f s", path.name, result.time)


def _notebooks(env: Any, docnames: Sequence[str]) -> Iterator[tuple[Path, Any]]:
    """Those pages that are notebooks, read as Jupyter Book reads them."""
    from myst_nb.core.read import create_nb_reader

    for docname in docnames:
        path = Path(env.doc2path(docname))
        text = path.read_text(encoding="utf-8")
        reader = create_nb_reader(str(path), env.myst_config, env.mystnb_config, text)
        if reader is not None:
            notebook = reader.read(text)
            if any(cell.cell_type == "code" for cell in notebook.cells):
                yield path, notebook


def _is_cached(cache: Any, notebook: Any) -> bool:
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def _run(path: Path, notebook: Any, timeout: int) -> Any:
    from jupyter_cache.executors.utils import single_nb_execution

    return single_nb_execution(notebook, cwd=str(path.parent), timeout=timeout, allow_errors=False)
