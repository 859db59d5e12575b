"""HTTP: the public tracking host (`tracking.py`) and the operator's API (`admin/`). Two listeners,
never mixed.
"""
