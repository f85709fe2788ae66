"""Durable work: the `Run` row is the truth, a queued task is only a wake-up task with the run's id.

`driver` creates runs, drives them step by step, stops and resumes them. `lease` proves in every transaction that this
process still owns the run. A feature names the handler of its kinds in its `operation.py`. `outcomes` has the ways in
which a step ends. `sweeping` wakes due runs and takes over lost ones. `emergency` is the emergency stop.
`announcements` tells people of finished and failed runs.

A run that failed or was stopped is resumed as the same run; its subject stays in the state it was in.
"""
