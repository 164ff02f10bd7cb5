"""The founding paper's networks of floats, broken and repaired as it says, and its four figures as data and pictures.

"Efficient rescue of damaged neural networks" (NeurIPS 2019 workshop Real Neurons & Hidden Units) states no widths, learning rates,
seeds or thresholds; those here are this project's, see :class:`neurofault.papers.rescue2019.float_setting.FloatSetting`. The strategies are the
functions of :mod:`neurofault.rescue.strategies`, run on a :class:`~neurofault.papers.rescue2019.float_bench.FloatBench`.
"""
