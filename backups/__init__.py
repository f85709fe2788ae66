"""Copies, and the writes they make safe."""
