"""DICOM associations, with pynetdicom."""
