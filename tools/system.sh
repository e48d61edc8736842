#!/usr/bin/env bash
# Makes sure that the system packages a Qt window with OpenGL and a virtual display need are there (Debian, Ubuntu).
# As root or with password-free sudo it installs what is missing, otherwise it names the one command to run.
set -euo pipefail

# what to find -> the package that has it; lib*.so* through the linker, /... as a file, else as a command
needs=(
  Xvfb=xvfb xauth=xauth xvfb-run=xvfb
  libGL.so.1=libgl1 libEGL.so.1=libegl1 libGLX_mesa.so.0=libglx-mesa0 libgallium-or-swrast=libgl1-mesa-dri
  libxkbcommon-x11.so.0=libxkbcommon-x11-0 libxkbcommon.so.0=libxkbcommon0 libX11-xcb.so.1=libx11-xcb1
  libxcb-cursor.so.0=libxcb-cursor0 libxcb-icccm.so.4=libxcb-icccm4 libxcb-image.so.0=libxcb-image0
  libxcb-keysyms.so.1=libxcb-keysyms1 libxcb-randr.so.0=libxcb-randr0 libxcb-render-util.so.0=libxcb-render-util0
  libxcb-shape.so.0=libxcb-shape0 libxcb-xkb.so.1=libxcb-xkb1 libxcb-sync.so.1=libxcb-sync1
  libxcb-xfixes.so.0=libxcb-xfixes0 libxcb-shm.so.0=libxcb-shm0 libxcb-render.so.0=libxcb-render0
  libdbus-1.so.3=libdbus-1-3 libfontconfig.so.1=libfontconfig1 libfreetype.so.6=libfreetype6
  libglib-2.0.so.0=libglib2.0-0 libstdc++.so.6=libstdc++6
  /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core
)

found() {
  case $1 in
    libgallium-or-swrast) compgen -G '/usr/lib/*/dri/swrast_dri.so' >/dev/null ;;
    lib*.so*) grep -qF "$1 " <<<"$libraries" ;;
    /*) [[ -e $1 ]] ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing_packages() {
  local need
  libraries=$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p)
  for need in "${needs[@]}"; do
    found "${need%%=*}" || echo "${need#*=}"
  done | sort -u
  tools/python.sh >/dev/null || { echo python3; echo python3-venv; }
}

may_install() { [[ $(id -u) == 0 ]] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }

if [[ $(uname -s) != Linux ]] || ! command -v apt-get >/dev/null; then
  echo "system: not Debian or Ubuntu, taking for granted that Qt, OpenGL and (on Linux) Xvfb work here"
  exit 0
fi
mapfile -t missing < <(missing_packages)
if ((${#missing[@]} == 0)); then
  echo "system: all packages are there"
  exit 0
fi
if ! may_install; then
  {
    echo "system: these packages are missing and only an administrator can install them: ${missing[*]}"
    echo "system: run this once, then the same make command again:"
    echo "  sudo apt-get update && sudo apt-get install -y ${missing[*]}"
  } >&2
  exit 1
fi
echo "system: installing ${missing[*]}"
admin=()
[[ $(id -u) == 0 ]] || admin=(sudo -n)
install() {
  "${admin[@]}" apt-get update -q
  "${admin[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}
if ! output=$(install 2>&1); then
  printf '%s\nsystem: apt-get failed, see above\n' "$output" >&2
  exit 1
fi
mapfile -t missing < <(missing_packages)
if ((${#missing[@]})); then
  echo "system: still missing after installing: ${missing[*]}; Python must be 3.11 or newer, see README" >&2
  exit 1
fi
