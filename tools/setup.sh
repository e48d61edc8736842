#!/usr/bin/env bash
# Makes .venv ready: system packages, then the package itself (editable) with everything that demo and test need.
# PYTHON=... chooses the interpreter, TORCH_INDEX=URL another place to take torch from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools/system.sh
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  if ! python=$(tools/python.sh); then
    echo "setup: no Python 3.11 or newer that can make virtual environments; install one, or name it: PYTHON=... make" >&2
    exit 1
  fi
  echo "setup: making .venv with $("$python" --version) ($python)"
  "$python" -m venv --clear .venv
fi
pip=(.venv/bin/python -m pip --disable-pip-version-check)
torch=$(grep -E '^torch==' constraints.txt)
echo "setup: installing $torch (the largest part, up to a few minutes)"
"${pip[@]}" install -qq --upgrade "pip>=25.1"
"${pip[@]}" install -qq ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -c constraints.txt "$torch"
echo "setup: installing napari-wsi-mil and the tools that test it"
"${pip[@]}" install -qq -c constraints.txt --group dev --editable .
touch .venv/ready
echo "setup: ready"
