"""The hosts of a recipient domain, and what must hold there: MX, addresses, MTA-STS, DANE.

Read `lookup.py` first: it puts the answers of `resolver.py` (the only door to DNS) in the order in
which they are tried.
"""
