"""What each feature says about itself: its kinds of run and of request, its subjects, procedures, jobs and notices.

A feature has one module `operation.py` with one `Operation`. The app configurations name the packages, and `registry`
collects them at start, so that `kvops` reads what the apps above it do without importing them. `parts` has the shapes.
"""
