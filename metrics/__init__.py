"""What is counted and how: the event record, folding, cubes, questions and Prometheus names.

Pure: no SQL, no sockets, nothing of ours imported. Read `events.py` first, then `fate.py` (what
became of a delivery), `contribution.py` (what it counts), `questions.py` (what can be asked).
"""
