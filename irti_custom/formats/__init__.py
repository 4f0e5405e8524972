"""Files people hold, in and out: annotation exports, tagged words, tables."""
