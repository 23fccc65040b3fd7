"""The map from promises to tests, README.md beside this file: each test that it names is there."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def test_each_promise_names_a_test_that_there_is() -> None:
    rows = [line for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for row in rows[1:]:
        named = re.findall(r"`([\w./]+)::(test_\w+)`", row)
        assert named, row
        for file, test in named:
            tree = ast.parse((HERE / file).read_text(encoding="utf-8"))
            assert test in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)], (file, test)
