"""Turn examples into rows, rows into tensors, and values per row back into values per span."""
