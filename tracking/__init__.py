"""Links and the open pixel: found once when a message is accepted, filled in per recipient.

Read `plan.py` first: `compile_plan` decides for every part and link what is replaced and why.
`markup.py`, `placement.py` and `urls.py` are the rules it applies, `splice.py` turns them into
byte edits, `render.py` fills a plan for one recipient, `tokens.py` says what a link carries.
`machines.py` tells the people from the machines among the hits.
"""
