"""Deployments run by Lava."""
