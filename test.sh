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
coverage run -m pytest -m "$long" "$@"
coverage combine --quiet
coverage report
