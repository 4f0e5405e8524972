"""Text in, labelled positions out."""
