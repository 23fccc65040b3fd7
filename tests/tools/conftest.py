"""What every test starts from: a command that was not called through uv, however pytest was."""

import os

os.environ.pop("UV_RUN_RECURSION_DEPTH", None)
