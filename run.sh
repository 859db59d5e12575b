#!/bin/sh
# Starts the relay; on the first run sets up what it needs. With arguments: ./run.sh ARGS is waypost ARGS.
cd "$(dirname "$0")" || exit
sh deploy/venv.sh requirements.lock || exit
exec .venv/bin/python -m relay "$@"
