"""SMTP out: connections to next hops, one transaction per delivery, what every answer means, when
to try again.

Read `outgoing.py` (what goes in, what comes out) first, then `transport.py` (the door), `engine.py`
(the dialogue, without I/O) and `verdict.py` (what every failure means). `mx` finds the hosts of a
domain; `dkim.py` signs.
"""
