"""The clinician's page and its API."""
