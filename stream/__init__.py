"""From records to rows and alerts: pure stages, and the Faust apps that drive them."""
