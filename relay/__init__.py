"""The route of a message and the processes that carry it.

The folders follow the route: `submission` (SMTP in), `acceptance` (once, before the 250),
`spool` (kept safe), `dispatch` (who goes next), `delivery` (SMTP out), `inbound` (what comes back),
`link` (facts up, settings down),
`ledger` (kept and counted), `control` and `web` (who asks). `mail` is the leaf that knows bytes
         and nothing of ours.
`process` holds the composition roots: the only modules that know everybody. Read `docs/flow.md`
first, then `process/worker.py`, which wires one data-plane process.
"""
