#!/usr/bin/env bash
# usage: tools/bench.sh SLIDE...    reads and viewing side by side with OpenSlide and napari-wsi (PyPI), as ratios
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if (($# == 0)); then
  echo 'name slides: make bench SLIDES="a.svs b.svs"' >&2
  exit 2
fi
# Kept apart: its plugin would otherwise compete for the same files in our window.
if [[ ! -d .bench-peer/napari_wsi ]]; then
  echo "bench: fetching napari-wsi into .bench-peer"
  .venv/bin/python -m pip install --quiet --no-deps --target .bench-peer napari-wsi universal-pathlib pathlib-abc
fi
.venv/bin/python benchmarks/reads.py "$@"
tools/on_display.sh .venv/bin/python benchmarks/viewing.py "$@" --peer .bench-peer
