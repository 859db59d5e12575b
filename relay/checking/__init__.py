"""Is a sending domain set up so that its mail is believed: what `waypost check DOMAIN` finds.

Read `domain.py` first; `spf.py` asks whether a record lets an address send.
"""
