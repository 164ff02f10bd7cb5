"""Deployments run by snnTorch, and as a torch module."""
