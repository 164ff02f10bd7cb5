"""Rescue: a damaged chip heals itself within its own limits."""
