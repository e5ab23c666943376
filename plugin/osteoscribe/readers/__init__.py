"""Data set in, core values out. No input or output; received bytes are hostile until checked."""
