"""Help that every alarm and message links to: its meaning, and the next step (`/help/alarms/`).

`alarms` joins the closed lists of `about_work`, `about_keys`, `about_backups` and `about_buckets`.
"""
