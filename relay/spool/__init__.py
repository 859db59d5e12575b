"""Where accepted mail waits: segment files for bodies, SQLite for envelopes, an outbox for facts.

Read `protocol.py` first (the seam), then `local.py` (the spool of one worker) and `group.py`
(one group commit).
"""
