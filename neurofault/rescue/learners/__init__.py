"""Learners: what changes weights, biases or thresholds of a damaged chip, behind one small protocol."""
