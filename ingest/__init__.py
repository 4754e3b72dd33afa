"""From samples to a Kafka record that can be trusted: one wire form, one publisher."""
