#!/usr/bin/env bash
# Prints the Python to build .venv with: $PYTHON if set, else the first of 3.11 to 3.13, else python3 from 3.11 on.
# Exit code 1 where there is none, or where it cannot make virtual environments (Debian's python3-venv is missing).
set -euo pipefail
for python in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
  if "$python" -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    command -v "$python"
    exit 0
  fi
done
exit 1
