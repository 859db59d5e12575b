"""The leaf: addresses, header, MIME offsets, transfer encodings, replies, keys. Imports nothing of
ours.

Read `header.py` first.
"""
