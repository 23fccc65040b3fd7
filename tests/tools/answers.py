"""Chapters as a learner leaves them: stubs, in which some functions are answered."""

import re

from vitcourse.course import chapters
from vitcourse.stubs import pristine


def answered(**bodies: str) -> dict[str, str]:
    """The stubs' texts by module; those of these functions have a body in the place of the line that raises."""
    texts = {chapter.module: pristine(chapter.module) for chapter in chapters()}
    for name, body in bodies.items():
        (module,) = (module for module, text in texts.items() if f"def {name}(" in text)
        before, start, after = texts[module].partition(f"def {name}(")
        texts[module] = before + start + re.sub("raise NotImplementedError.*", lambda _, own=body: own, after, count=1)
    return texts
