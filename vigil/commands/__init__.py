"""What the command line offers, a module a group. Heavy imports wait until a command runs: `--help` is quick."""
