"""Control: the ledger's only writer; settings, lists, who may do what, and the word to the workers.

Read `operations/__init__.py` for what can be done, `changes.py` for how a change becomes durable,
`publish.py` for how the workers hear of it, `app.py` for how it is served.
"""
