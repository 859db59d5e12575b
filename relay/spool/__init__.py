"""Where accepted mail waits: segment files for bodies, SQLite for envelopes, an outbox for facts. Read protocol.py first."""
