"""The other side of mail, played on this machine: receiving servers and the people behind them.

Everything here stands in for the outside world, so nothing here uses the relay's own parsers,
clients or servers: only the standard library. Read `part.py` first (what a recipient's name makes
it do), then `session.py` (how mail is taken) and `actor.py` (how the part is played through the
real doors).
"""
