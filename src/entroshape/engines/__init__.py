"""Engines: the methods inside existing trainers (TRL and verl). Each engine is an optional extra."""
