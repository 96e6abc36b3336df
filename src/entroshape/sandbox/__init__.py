"""The sandbox of scoring processes: what they deny themselves before they look at a model's text.

Apart from :mod:`entroshape.tasks`, because a scoring process holds its scorer's library and nothing else of ours.
``python -m entroshape.sandbox`` says what it enforces on this machine.
"""
