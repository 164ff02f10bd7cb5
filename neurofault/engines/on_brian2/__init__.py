"""Deployments run by Brian2."""
