"""The record: what goes in, checked, split and streamed."""
