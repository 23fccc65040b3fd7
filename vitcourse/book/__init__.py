"""The book: what its cells import (`seven`, `style`, `results`), and what builds, serves and converts it.

Building and serving need no torch, a cell needs no Sphinx: each of them loads what it needs when it is called.
"""

from vitcourse.book import style
from vitcourse.book.cells import results, seven

__all__ = ["results", "seven", "style"]
