"""Knowing that background work goes on, and repairing it if it stopped.

`cluster` supervises django-q2's cluster for `manage.py worker`, with a canary and a look at its processes. `sweep`
has the rounds of `manage.py sweep`. `heartbeats` are the rows by which each notices the other; `/readyz` and the
overview name the missing one. `work` says in one place whether background work goes on, for `/healthz/work`. `outage`
is what the sweep tells the outside world: a mail if the worker is gone, and a heartbeat while all is well. Any process
may be killed at any moment: only committed work counts, and nobody has to repair anything.
"""
