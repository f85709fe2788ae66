"""Knowing that background work goes on, and repairing it if it stopped.

`cluster` supervises django-q2's cluster for `manage.py worker`, with a canary and a look at its processes. `sweep`
has the rounds of `manage.py sweep`. `heartbeats` are the rows by which each notices the other; `/readyz` and the
overview name the missing one. Any process may be killed at any moment: only committed work counts, and nobody has to
repair anything.
"""
