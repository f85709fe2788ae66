"""The audit log: every action with its person, and the proof that nobody edited the entries."""
