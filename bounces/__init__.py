"""Reading what comes back: bounces, complaints, auto-replies, unsubscribes and SMTP replies.

Read `report.py` first (what a mail is turned into), then `read.py` (how), `classify.py` with
`knowledge/` (what a reply or a diagnostic means), `verp.py` and `linking.py` (whose delivery).
"""
