"""Faults at random, and the count of what came in against the count of what is stored."""
