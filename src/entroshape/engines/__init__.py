"""Adapters: the same methods inside the trainers that people already use. Each engine is an optional extra."""
