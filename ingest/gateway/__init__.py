"""The HTTP gateway: how phones, bridges and platforms get in."""
