"""What comes back by mail: bounces, complaints, auto-replies, unsubscribe mails.

Mail is taken only at addresses that we signed. Read `handler.py` first.
"""
