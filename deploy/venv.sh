#!/bin/sh
# Leaves a ready virtual environment in .venv:  sh deploy/venv.sh requirements.lock
# Does nothing when .venv already holds what the lock file says (one stamp per lock file).
set -eu
lock=$1
want=$(cksum <"$lock")
[ "$want" = "$(cat ".venv/.$lock" 2>/dev/null || true)" ] && exit 0
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Waypost needs Python 3.11 or newer as python3" >&2
    exit 1
}
echo "setting up .venv from $lock (once)" >&2
if [ ! -x .venv/bin/python ]; then
    if ! python3 -c 'import ensurepip' 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qqy python3-venv >&2  # on Debian venv is a package of its own
    fi
    python3 -m venv .venv || {
        echo "could not make .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" >&2
echo "$want" >".venv/.$lock"
