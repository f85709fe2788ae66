"""The frame of every page: menu, theme, language, error pages, health.

`readonly` is the middleware that refuses changes while a bucket shows a rollback of the database (`kvops.rollback`).
"""
