"""What a sensor says: bytes and export files in, sample batches out."""
