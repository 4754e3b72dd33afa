"""The watch: what it judges by (plan), how (engine), and the edge that feeds it from the log (app)."""
