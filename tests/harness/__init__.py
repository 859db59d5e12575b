"""Machinery that tests share: servers, clients and judges that run for real. Read `checker.py`
first: it says what a run is judged by; `driver.py` makes the mail and `relay_under_test.py` starts
the relay.
"""
