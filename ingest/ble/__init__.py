"""The Bluetooth link: from a wearable's notifications to accepted records, over every drop, restart and silence."""
