"""Spans from other tools, and answers where those tools look for them."""
