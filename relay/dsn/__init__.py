"""Failure notices (RFC 3464) to the envelope senders of mail that was not delivered.

Read `notices.py` first: when one is due; `report.py` writes it.
"""
