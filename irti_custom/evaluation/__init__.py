"""Arrays in, numbers out: metrics, and thresholds that are tuned on them."""
