"""Score files that are larger than memory, in jobs that resume."""
