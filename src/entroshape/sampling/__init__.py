"""Samples from causal language models of transformers: each prompt is read once, and finished rows leave the batch.

Used by the evaluation and by the TRL engine. :func:`entroshape.sampling.loop.sample_tokens` is the loop,
:func:`entroshape.sampling.support.unsupported` says which models it cannot drive.
"""
