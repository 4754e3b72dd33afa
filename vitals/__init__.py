"""The words everyone uses: metrics, sample batches, ids, clocks, quality. Imports no other room."""
