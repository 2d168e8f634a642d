"""DICOM files for the tests, written in memory, with patient data."""

import io
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

PATIENT = "Muster^Erika"
DERMOSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.4"
"""VL Photographic Image Storage."""


def described(**elements: Any) -> Dataset:
    """A dataset with patient data and these elements."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = DERMOSCOPY, generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT, "4711", "19700101"
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def written(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The bytes of a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = DERMOSCOPY
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def native(values: np.ndarray, colours: str = "RGB", syntax: str = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """A file of uncompressed values [h, w] or [h, w, 3]."""
    size = 8 * values.dtype.itemsize
    pixels = {
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 3 if values.ndim == 3 else 1,
        "PhotometricInterpretation": colours,
        "BitsAllocated": size,
        "BitsStored": size,
        "HighBit": size - 1,
        "PixelRepresentation": 0,
        "PixelData": values.tobytes(),
    }
    if values.ndim == 3:
        pixels["PlanarConfiguration"] = 0
    return written(described(**pixels | elements), syntax)


def compressed(frame: bytes, colours: str = "YBR_FULL_422", syntax: str = JPEGBaseline8Bit, **elements: Any) -> bytes:
    """A file of one compressed picture."""
    width, height = Image.open(io.BytesIO(frame)).size
    samples = 1 if colours.startswith("MONOCHROME") else 3
    pixels = {
        "Rows": height,
        "Columns": width,
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": colours,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": encapsulate([frame]),
    }
    if samples == 3:
        pixels["PlanarConfiguration"] = 0
    return written(described(**pixels | elements), syntax)
