"""Schedules: work that starts by itself, each due time exactly once, and none missed without a report.

`jobs` has the closed list of jobs, each with the name of a function and a default due time. The sweep gives every
environment its schedule for each job; an operator changes or pauses it on `/schedules/`. `cron` computes due times,
`punctuality` tells whether a schedule is on time, late or overdue, and `titles` names it in the audit log.
"""
