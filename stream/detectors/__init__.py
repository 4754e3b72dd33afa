"""Detectors: arrays in, findings out. Pure; parameters are frozen policies, state is explicit, time is event time."""
