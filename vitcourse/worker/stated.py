"""The statements of a text, word for word: by them an answer can be laid beside the reference."""

import ast
from collections.abc import Iterable


def stated(body: Iterable[ast.stmt], within: str = "") -> list[str]:
    """The statements that can be reached, in their order, each with the kinds of those in which it stands."""
    found = []
    for line in body:
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant):
            continue  # a docstring
        head, kind = ast.unparse(line).partition("\n")[0], type(line).__name__
        if isinstance(line, ast.FunctionDef | ast.ClassDef):
            head = kind = " ".join([line.name, *map(ast.unparse, line.decorator_list)])
        found.append(f"{within}{head}")
        for part in ("body", "orelse"):
            found += stated(getattr(line, part, []), f"{within}{kind} {part} > ")
        if isinstance(line, ast.Return | ast.Raise):
            break
    return found
