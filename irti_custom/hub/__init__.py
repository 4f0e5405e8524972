"""Describe a model on a card, and push it to the Hub."""
