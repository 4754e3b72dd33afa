"""What someone must know: rules, episodes, routing, notification channels."""
