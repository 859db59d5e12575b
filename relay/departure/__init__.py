"""Per recipient, at each attempt: suppression again, tokens, our header fields, return path,
signature.

Nothing made here is stored. Read `depart.py` first.
"""
