"""The processes and what they are made of: the only modules that know everybody.

`supervisor.py` starts `control.py`, `worker.py` and `sandbox.py` as siblings through
`children.py`; `life.py` is the line between them. Read `worker.py` first: top to bottom it is the
check list of a data-plane process.
"""
