"""Campaigns: a YAML file in, trials in a journal that survives a kill at any byte, an answer with intervals out."""
