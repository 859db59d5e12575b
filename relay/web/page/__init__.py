"""The operator's page on the admin listener: live report, statistics, settings, lists.

Read `app.py` first (addresses, and what every request goes through), then `widgets.py` (what a
report is made of). Everything it shows or changes goes through control's operations.
"""
