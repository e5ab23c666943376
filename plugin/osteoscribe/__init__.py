"""A DICOM node that turns a marked bone lesion on CT into a measured finding with a suggested phrase.

For research use, not for diagnostic use.
"""

__version__ = "0.1.0"
