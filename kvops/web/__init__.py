"""Shared by the views of every feature.

`acting` carries out a person's step on a page and shows a refusal; `files` streams tables as CSV and JSON. Nothing
here knows a feature.
"""
