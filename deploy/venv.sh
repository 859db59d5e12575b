#!/bin/sh
# Leaves a ready virtual environment in .venv:  sh deploy/venv.sh requirements.lock
# Does nothing when .venv already holds what the lock file says (one stamp per lock file).
set -eu
lock=$1
want=$(cksum <"$lock")
[ "$want" = "$(cat ".venv/.$lock" 2>/dev/null || true)" ] && exit 0

can() { "$1" -c "$2" >/dev/null 2>&1; }

# The distribution's Python comes first: it gets its security updates with the system, and it is built
# with profile-guided optimisation, which others on the PATH often are not.
python=
for one in ${WAYPOST_PYTHON:-/usr/bin/python3 python3}; do
    if can "$one" 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$one
        break
    fi
done
[ "$python" ] || {
    echo "Waypost needs Python 3.11 or newer, as /usr/bin/python3, python3 or \$WAYPOST_PYTHON" >&2
    exit 1
}
echo "setting up .venv from $lock (once), with $("$python" --version)" >&2

if [ ! -x .venv/bin/python ]; then
    # On Debian pip for a new environment is a package of its own; another Python's will do as well.
    if can "$python" 'import ensurepip'; then
        "$python" -m venv .venv
    elif can python3 'import pip, sys; sys.exit(int(pip.__version__.split(".")[0]) < 23)'; then
        "$python" -m venv --without-pip .venv
    elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -qqy python3-venv >&2
        "$python" -m venv .venv
    else
        echo "could not make .venv; on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    fi
fi
pip=python3
can .venv/bin/python 'import pip' && pip=.venv/bin/python
"$pip" -m pip --python .venv/bin/python install \
    --quiet --disable-pip-version-check --require-hashes -r "$lock" >&2
# Where the service may not write here, each start would compile our modules again.
.venv/bin/python -m compileall -q relay tracking bounces metrics
echo "$want" >".venv/.$lock"
