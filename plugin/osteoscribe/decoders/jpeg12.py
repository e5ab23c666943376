"""Lossy JPEG of 12 bits, by GDCM itself: pydicom refuses to hand GDCM such frames, though it decodes them."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import numpy.typing as npt

from osteoscribe.errors import InputError


def decode_jpeg12(
    frame: bytes, *, transfer_syntax_uid: str, rows: int, columns: int, bits_stored: int
) -> npt.NDArray[np.uint16]:
    """Decode one frame of unsigned values of 9 to 12 bits.

    GDCM's inverse transform and others' differ by 1 in a value now and then; both are within ISO 10918-2.

    Parameters
    ----------
    frame
        The compressed frame, whose size has been checked.
    transfer_syntax_uid
        JPEG Extended (process 2 and 4), or the retired progressive ones.
    rows, columns, bits_stored
        As the header says.

    Raises
    ------
    InputError
        ``ct.cannot-decode``
    """
    gdcm = import_module("gdcm")  # no type information
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(transfer_syntax_uid)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, bits_stored, bits_stored - 1, 0))
    # GDCM gives bytes as str
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), dtype="<u2")
    if values.size != rows * columns:
        raise InputError("ct.cannot-decode", "its pixel data is damaged; send it again")
    return np.asarray(values.reshape(rows, columns), dtype=np.uint16)
