"""The exact engine: compiled kernels where damage is plain, step by step where it is not."""
