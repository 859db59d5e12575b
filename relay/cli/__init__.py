"""The command line: one file per noun, each with `add(commands)`.

Read `registry.py` first (which commands there are), then `door.py` (how they reach control).
Modules import nothing heavy at their top, so that every command starts fast.
"""
