"""The doctor: whether an installation is complete, and the next step where it is not.

Each feature names its checks in its `operation.py`. A check yields findings: *ok*, *wrong* with what to do,
or *not known* and why. `manage.py doctor` runs in the settings of one process, so it knows only the secrets of that
process. The page `/environments/doctor/` runs in the web server. Nothing is repaired here, and nothing changes: no row,
no object and no message comes of an examination.
"""
