"""Compressed frames to their values, by native decoders in processes of their own."""
