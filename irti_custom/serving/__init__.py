"""Answer requests: a queue of shared batches, payloads, and the handler of an endpoint."""
