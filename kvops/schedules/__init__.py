"""Schedules: work that starts by itself, each due time exactly once, and none missed without a report.

Each feature names its jobs in its `operation.py`, with a function and a default due time. The sweep gives every
environment its schedule for each job; an operator changes or pauses it on `/schedules/`. `cron` computes due times,
`punctuality` tells whether a schedule is on time, late or overdue.
"""
