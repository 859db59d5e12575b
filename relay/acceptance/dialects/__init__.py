"""Other providers' control headers as synonyms, one dialect per credential.

So that an application changes host and password, and keeps its tags, campaigns and tracking
choices. Read `reading.py` first; `fields.py` is the table.
"""
