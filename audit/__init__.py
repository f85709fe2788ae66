"""The record: what was done, by whom, and the proof that nobody edited it."""
