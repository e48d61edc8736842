#!/usr/bin/env bash
# usage: tools/test.sh [lint]    all checks and the tests, or the quick checks only; every part runs even if one fails
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/.venv/bin
failed=()
passed=0

check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    passed=$((passed + 1))
    echo "ok      $name"
  else
    failed+=("$name")
    printf 'FAILED  %s: %s\n%s\n' "$name" "$*" "$output"
  fi
}

# The tests of the window, on a screen of their own, and beside them all others: both take long, and one core each.
run_tests() {
  local log others
  local pytest=("$bin/python" -m pytest -m "not slow and not gpu and not network")
  log=$(mktemp)
  OMP_WAIT_POLICY=passive "${pytest[@]}" -p no:cacheprovider --ignore=tests/gui >"$log" 2>&1 &
  others=$!
  trap "kill $others 2>/dev/null; rm -f $log" EXIT
  if tools/on_display.sh "${pytest[@]}" tests/gui; then passed=$((passed + 1)); else failed+=(windows); fi
  if wait "$others"; then passed=$((passed + 1)); else failed+=(tests); fi
  cat "$log"
}

check style "$bin/ruff" check --output-format concise .
check format "$bin/ruff" format --check --output-format concise .
check types "$bin/mypy"
check imports "$bin/lint-imports" --no-cache
if [[ ${1:-all} != lint ]]; then
  check wheel "$bin/python" tools/check_wheel.py
  run_tests
fi
echo "checks: $passed passed, ${#failed[@]} failed${failed[*]:+ (${failed[*]})}"
((${#failed[@]} == 0))
