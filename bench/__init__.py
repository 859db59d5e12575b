"""Measures Waypost beside Postfix on the same machine, and its stages one by one. Run `python -m
bench`; read `__main__.py` first, then `cases.py` (what is measured) and `measure.py` (how).
"""
