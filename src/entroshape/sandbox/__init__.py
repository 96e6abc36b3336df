"""The sandbox of scoring processes: the permissions that they give up before they read a model's text.

It is separate from :mod:`entroshape.tasks`, because a scoring process loads only its scorer's library.
``python -m entroshape.sandbox`` shows what is enforced on this machine.
"""
