"""A model and labelled records in, a page to look at out."""
