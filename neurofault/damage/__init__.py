"""What is broken: edits of a chip's integers, when they act, and what they come to together in a step."""
