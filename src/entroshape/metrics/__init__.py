"""Metrics as people read them, apart from what computes them. Standard library alone."""
