"""Engine ``exact`` on a device of torch: the same integers from torch operations, checked against the CPU's kernels in each run."""
