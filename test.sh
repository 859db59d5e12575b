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
    # Two halves side by side: the one computes, the other mostly waits for processes it started.
    failed=
    coverage run -m pytest -m "$long" -p no:cacheprovider tests/unit tests/contract tests/browser >.units.log 2>&1 &
    units=$!
    coverage run -m pytest -m "$long" -p no:cacheprovider tests/crash tests/integration || failed=1
    wait $units || failed=1
    cat .units.log
    [ ! "$failed" ] || exit 1
fi
coverage combine --quiet
coverage report
