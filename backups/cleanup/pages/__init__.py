"""The pages of a clean-up and of its stages: presses of several steps, phases, summaries, and the text to share."""
