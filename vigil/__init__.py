"""The composition root: settings, command line, embedded services, demo."""
