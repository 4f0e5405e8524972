"""Load a model from whatever a name stands for, and save it so that it loads by itself."""
