"""Who goes next: due deliveries by destination, fair between accounts and campaigns.

Read `dispatcher.py` first, then `destination.py` (what is known of one destination).
"""
