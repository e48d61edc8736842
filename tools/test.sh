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

check style "$bin/ruff" check --output-format concise .
check format "$bin/ruff" format --check --output-format concise .
check types "$bin/mypy"
check imports "$bin/lint-imports" --no-cache
if [[ ${1:-all} != lint ]]; then
  check wheel "$bin/python" tools/check_wheel.py
  tools/on_display.sh "$bin/python" -m pytest -m "not slow and not gpu and not network" || failed+=(tests)
fi
if [[ ${1:-all} == lint || ${failed[*]} != "" && ${failed[*]} != tests ]]; then
  echo "checks: $passed passed, ${#failed[@]} failed${failed[*]:+ (${failed[*]})}"
fi
((${#failed[@]} == 0))
