"""The admin listener: HTTP around control's operations. Knows no operation by name.

Read `app.py` first: what is served and in which order a request is checked.
"""
