"""The chip's learning engine: rules, traces, compiled updates with stochastic rounding."""
