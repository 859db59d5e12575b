"""What can be asked and changed, one file per noun; every method is a route of the admin API.

The HTTP door, the commands and tests call the same methods. Read `accounts.py` first: it is the
shortest that shows all of it (typed values, the caller, a change with its audit row).
"""
