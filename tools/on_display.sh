#!/usr/bin/env bash
# usage: tools/on_display.sh COMMAND...    runs it on a virtual display of its own, where there is Xvfb (Linux)
set -euo pipefail
if [[ $(uname -s) == Linux ]]; then
  exec env -u WAYLAND_DISPLAY QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1200x24" "$@"
fi
exec "$@"
