"""Between worker and control: facts go up, settings, suppressions and commands come down.

One unix socket per worker. Read `frames.py` first.
"""
