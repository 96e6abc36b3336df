"""Sampling from transformers' causal language models with a loop of our own: prompts are read once, finished rows leave.

Used by the evaluation and by the TRL engine. :func:`entroshape.sampling.loop.sample_tokens` is the loop,
:func:`entroshape.sampling.support.unsupported` says which models it cannot drive.
"""
