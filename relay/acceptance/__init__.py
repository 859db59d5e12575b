"""Once per message, before the 250: who may send, to whom, what the headers ask, what tracking
will do.

Read `accept.py` first: its `accept` is the list of verbs.
"""
