"""The first page: the state of every environment, waiting requests, alarms.

It counts no keys, because the scans already did. Parts of other features come through template tags.
"""
