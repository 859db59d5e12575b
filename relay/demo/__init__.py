"""`waypost demo`: real processes, a local sink, recipients that are played, and the sum at the end.

Read `show.py` first. Everything it starts listens on loopback and ends with it.
"""
