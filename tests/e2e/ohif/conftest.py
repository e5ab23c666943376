"""The page server of the viewer is a program, not a test."""

collect_ignore = ["serve.py"]
