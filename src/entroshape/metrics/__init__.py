"""How metrics are named and formatted for people. Needs only the standard library."""
