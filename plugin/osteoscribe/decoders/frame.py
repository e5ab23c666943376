"""One compressed frame to its values, by the decoder that is named for its syntax and no other."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from osteoscribe.decoders.codestream import check_frame
from osteoscribe.decoders.jpeg12 import decode_jpeg12
from osteoscribe.errors import InputError

RLE = "1.2.840.10008.1.2.5"
DECODERS = {
    RLE: "pylibjpeg",  # pylibjpeg-rle
    "1.2.840.10008.1.2.4.50": "gdcm",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51": "gdcm",  # JPEG Extended; of 12 bits by jpeg12
    "1.2.840.10008.1.2.4.53": "",  # JPEG Spectral Selection, retired; by jpeg12
    "1.2.840.10008.1.2.4.55": "",  # JPEG Full Progression, retired; by jpeg12
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70": "gdcm",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 Lossless, pylibjpeg-openjpeg
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
}
"""pydicom's name of the decoder for each compressed transfer syntax of CT."""
_DECODERS = {
    **DECODERS,
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # High-Throughput JPEG 2000 Lossless, of masks
    "1.2.840.10008.1.2.4.202": "pylibjpeg",  # High-Throughput JPEG 2000 with RPCL Lossless, of masks
}
_LOSSY_JPEG = frozenset({"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"})

DECODER_ERRORS = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError, OverflowError,
    EOFError, OSError, MemoryError, struct.error,
)  # fmt: skip
"""What decoders raise over damaged frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFormat:
    """What the header says of a compressed frame of one component."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool


def decode_frame(frame: bytes, form: FrameFormat) -> npt.NDArray[np.integer]:
    """Decode a frame.

    Parameters
    ----------
    frame
        The compressed frame, without item tags.
    form
        What the header says of it.

    Returns
    -------
    npt.NDArray[np.integer]
        (rows, columns), of the size and sign of the stored values.

    Raises
    ------
    InputError
        ``ct.cannot-decode``
    """
    syntax = form.transfer_syntax_uid
    check_frame(frame, transfer_syntax_uid=syntax, rows=form.rows, columns=form.columns)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if syntax in _LOSSY_JPEG and form.bits_stored > 8:
                return decode_jpeg12(
                    frame,
                    transfer_syntax_uid=syntax,
                    rows=form.rows,
                    columns=form.columns,
                    bits_stored=form.bits_stored,
                )
            array, _ = get_decoder(UID(syntax)).as_array(
                _image_of(frame, form), index=0, raw=True, decoding_plugin=_DECODERS[syntax]
            )
    except DECODER_ERRORS as error:
        raise _damaged(error) from None
    except BaseException as error:
        # a run that ends after its frame makes pylibjpeg-rle panic, which is no Exception in Python
        if type(error).__name__ != "PanicException":
            raise
        raise _damaged(error) from None
    return np.asarray(array)


def _damaged(error: BaseException) -> InputError:
    why = f"its pixel data is damaged ({type(error).__name__}); send it again"
    return InputError("ct.cannot-decode", why)


def _image_of(frame: bytes, form: FrameFormat) -> Dataset:
    """Wrap one compressed frame, with what a decoder needs to know."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(form.transfer_syntax_uid)
    ds.Rows, ds.Columns = form.rows, form.columns
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored = form.bits_allocated, form.bits_stored
    ds.HighBit = form.bits_stored - 1
    ds.PixelRepresentation = int(form.signed)
    ds.PixelData = encapsulate([frame], has_bot=False)
    return ds
