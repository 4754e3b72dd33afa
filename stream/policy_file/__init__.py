"""Policies as people write them: TOML with layers, read with every error by line and field, compiled to plans."""
