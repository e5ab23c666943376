"""Core values in, data set out. No input or output."""
