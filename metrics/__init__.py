"""What is counted and how: the event record, folding, cubes, questions and Prometheus names.

Pure: no SQL, no sockets, nothing of ours imported. Read `events.py` first.
"""
