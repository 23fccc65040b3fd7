#!/usr/bin/env bash
# Run once, when Gradescope builds the image: the course comes as a clone, or as it was installed (in site/).
set -euo pipefail
apt-get update -qq
apt-get install -qq -y bubblewrap python3-pip curl
python3 -m pip install --quiet --break-system-packages uv || python3 -m pip install --quiet uv
cd /autograder/source/course
if [ ! -d site ]; then
    uv sync --no-dev --no-default-groups --compile-bytecode
else
    uv venv
    uv pip install --compile-bytecode --requirements requirements.txt
    cp -r site/. .venv/lib/python3*/site-packages/
    printf '#!/bin/sh\nexec "%s" -m vitcourse "$@"\n' "$PWD/.venv/bin/python" > .venv/bin/vitcourse
    chmod +x .venv/bin/vitcourse
fi
