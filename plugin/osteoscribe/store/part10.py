"""The head of a DICOM file, for data sets that are kept without one."""

from __future__ import annotations

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from osteoscribe.app.ports import Envelope


def file_head(envelope: Envelope) -> bytes:
    """Make the preamble and the file meta information of a data set.

    References
    ----------
    PS3.10 7.1
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(envelope.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(envelope.sop_instance_uid)
    meta.TransferSyntaxUID = UID(envelope.transfer_syntax_uid)
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return bytes(128) + b"DICM" + bytes(buffer.getvalue())
