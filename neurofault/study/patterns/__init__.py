"""Test patterns: the fewest samples that show that a chip is broken, and what else their answers say."""
