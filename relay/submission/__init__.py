"""The doors where mail comes in by SMTP: bytes from a socket become a checked envelope and content.

Read `engine.py` first (the dialogue without any network), then `session.py` (the same on a
connection), then `listener.py` (connections on a listening socket). What may be sent and by whom is
decided in `relay/acceptance/`, behind the handler that a session calls.
"""
