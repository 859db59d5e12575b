#!/bin/sh
# Every check, the quickest to fail first. --long adds the soaks; other arguments go to pytest.
set -e
cd "$(dirname "$0")"
sh deploy/venv.sh requirements-dev.lock
PATH="$PWD/.venv/bin:$PATH"
long="not long"
if [ "${1:-}" = "--long" ]; then
    long="long or not long"
    shift
fi
ruff format --check .
ruff check .
mypy
lint-imports
rm -f .coverage .coverage.*
if [ $# -gt 0 ]; then
    coverage run -m pytest -m "$long" "$@"
else
    # Three parts side by side: one computes, two mostly wait for the processes that they started;
    # of these, one takes the integration tests from A to M, the other from N to Z.
    part() { coverage run -m pytest -m "$long" -p no:cacheprovider "$@"; }
    failed=
    part tests/unit tests/contract >.units.log 2>&1 &
    units=$!
    part tests/crash tests/browser tests/integration/test_[n-z]* >.crash.log 2>&1 &
    crash=$!
    part tests/integration/test_[a-m]* || failed=1
    wait $crash || failed=1
    cat .crash.log
    wait $units || failed=1
    cat .units.log
    [ ! "$failed" ] || exit 1
fi
coverage combine --quiet
coverage report
