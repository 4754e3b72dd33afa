"""What the README's numbers come from. Every figure stands beside a yardstick measured in the same run."""
