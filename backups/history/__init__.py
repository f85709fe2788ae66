"""The history of backups for auditors: a timeline, a table, files, and a retention report to print.

`events` reads it from the audit log and the generations, so there are no tables of its own that could disagree. The
charts (`templatetags/charts.py`) are SVG from templates, each with a table beside it. `unchanged` works out since when
a settings value is unchanged.
"""
