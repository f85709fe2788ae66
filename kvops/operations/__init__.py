"""Each feature in one place: its kinds of run and of request, its subjects, procedures, jobs and notices.

A feature has one module `operation.py`. The app configurations name the packages, and `registry` collects them at
start, so that `kvops` reads the features of the app above it without importing them. `parts` has the shapes.
"""
