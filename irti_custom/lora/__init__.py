"""Train a small share of a model's weights, through PEFT."""
