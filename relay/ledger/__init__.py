"""Where facts are kept and counted: tables, the fold, cubes, questions, stories, upkeep.

Only control and the CLI open it, one at a time. Read `engine.py` first, then `fold.py`.
"""
