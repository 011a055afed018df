"""Images as single-frame DICOM files: headers, UIDs, transfer syntaxes.

What belongs here: bytes of one series' files. What does not: which series a study has (studies.py), zips (zips.py).

pydicom writes one file per series, with placeholders of fixed width where frames differ; every frame's file is that
template with the placeholders filled in and its own pixels behind. That is some fifty times faster and exactly as valid.
UIDs are derived from names ("2.25." and 38 digits of a hash), so the same seed gives the same bytes.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import JPEG2000LosslessEncoder, RLELosslessEncoder
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, MRImageStorage, RLELossless

from heart_assets.phantom.planes import Plane

_UID, _NUMBER, _TRIGGER = UID("2.25." + "7" * 38), "7777", "77777.77"  # placeholders: SOP instance, instance number, trigger time
_SYNTAXES = {"none": ExplicitVRLittleEndian, "rle": RLELossless, "jpeg2000": JPEG2000Lossless}
IMPLEMENTATION_UID = UID("2.25.302948576120394857612039485761203948")


@dataclass(frozen=True)
class SeriesHeader:
    """What the headers of one series say."""

    uid: str
    study_uid: str
    frame_of_reference_uid: str
    number: int
    description: str
    patient_id: str
    sex: str
    age_years: int
    date: str  # YYYYMMDD
    time: str  # HHMMSS
    station: str
    software: str
    plane: Plane
    slice_mm: float
    frames: int  # that a complete series has
    rr_ms: float
    trigger_times: bool = True
    compression: str = "none"  # none, rle or jpeg2000


@dataclass(frozen=True)
class DicomFile:
    """One file of a study: its name in the zip, and its bytes."""

    name: str
    data: bytes


def make_uid(*parts: object) -> str:
    """A UID of 43 characters that depends on the parts alone."""
    value = int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest())
    return f"2.25.{10**37 + value % (9 * 10**37)}"


def series_files(header: SeriesHeader, pixels: np.ndarray, first_instance: int = 0) -> list[DicomFile]:
    """One DICOM file per frame, in time order.

    Args:
        header: common to the series.
        pixels: (frames, rows, columns) uint16, values below 4096.
        first_instance: how many instances of the series come before these.
    """
    start, end = _template(header)
    encode = _encoder(header, pixels.shape[1:])
    files = []
    for index, frame in enumerate(pixels):
        instance = first_instance + index + 1
        uid = make_uid(header.uid, instance)
        filled = start.replace(_UID.encode(), uid.encode()).replace(_NUMBER.encode() + end, f"{instance:<4d}".encode() + end)
        filled = filled.replace(_TRIGGER.encode(), f"{index * header.rr_ms / header.frames:<8.2f}".encode())
        files.append(DicomFile(f"{uid}.dcm", filled + encode(frame)))
    return files


def _encoder(header: SeriesHeader, shape: tuple[int, ...]) -> Callable[[np.ndarray], bytes]:
    """From a frame (rows, columns) to its Pixel Data element."""
    if header.compression == "none":
        size = 2 * shape[0] * shape[1]
        return lambda frame: b"\xe0\x7f\x10\x00OW\x00\x00" + struct.pack("<I", size) + frame.astype("<u2").tobytes()
    codec, plugin = (RLELosslessEncoder, "pydicom") if header.compression == "rle" else (JPEG2000LosslessEncoder, "pylibjpeg")
    options: dict[str, Any] = {
        "rows": shape[0], "columns": shape[1], "samples_per_pixel": 1, "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": 16, "bits_stored": 12, "pixel_representation": 0, "number_of_frames": 1, "encoding_plugin": plugin,
    }  # fmt: skip

    def compressed(frame: np.ndarray) -> bytes:
        body = encapsulate([codec.encode(np.ascontiguousarray(frame), **options)])
        return b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff" + body + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"

    return compressed


def _template(header: SeriesHeader) -> tuple[bytes, bytes]:
    """The file up to the pixels, with placeholders; and what follows the instance number's placeholder, to find it by."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = _UID
    meta.TransferSyntaxUID = _SYNTAXES[header.compression]
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "HEART_PHANTOM"
    file = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    plane = header.plane
    file.SpecificCharacterSet = "ISO_IR 100"
    file.ImageType = ["ORIGINAL", "PRIMARY", "M", "RETRO", "NORM", "DIS2D"]
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, _UID
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = file.ContentDate = header.date
    file.StudyTime = file.SeriesTime = file.AcquisitionTime = file.ContentTime = header.time
    file.AccessionNumber = ""
    file.Modality = "MR"
    file.Manufacturer, file.ManufacturerModelName = "SIEMENS", "Phantom"
    file.ReferringPhysicianName = ""
    file.StationName = header.station
    file.StudyDescription, file.SeriesDescription, file.ProtocolName = "Synthetic heart", header.description, header.description
    file.PatientName, file.PatientID, file.PatientBirthDate = "", header.patient_id, ""
    file.PatientSex, file.PatientAge = header.sex, f"{header.age_years:03d}Y"
    file.BodyPartExamined = "HEART"
    file.ScanningSequence, file.SequenceVariant, file.ScanOptions, file.MRAcquisitionType = "GR", "SK", "CG", "2D"
    file.SliceThickness = f"{header.slice_mm:g}"
    file.RepetitionTime, file.EchoTime, file.FlipAngle = "31.5", "1.16", "60"
    file.MagneticFieldStrength = "1.5"
    file.SoftwareVersions = header.software
    if header.trigger_times:
        file.TriggerTime = _TRIGGER
    file.NominalInterval = f"{header.rr_ms:.0f}"
    file.CardiacNumberOfImages = str(header.frames)
    file.PatientPosition = "HFS"
    file.StudyInstanceUID, file.SeriesInstanceUID = header.study_uid, header.uid
    file.StudyID, file.SeriesNumber, file.AcquisitionNumber = "1", str(header.number), "1"
    file.InstanceNumber = _NUMBER
    file.ImagePositionPatient = [f"{value:.4f}" for value in plane.position]
    file.ImageOrientationPatient = [f"{value:.8f}" for value in (*plane.row, *plane.column)]
    file.FrameOfReferenceUID = header.frame_of_reference_uid
    file.PositionReferenceIndicator = ""
    file.ImageComments = "Synthetic: not a patient"
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = plane.rows, plane.columns
    file.PixelSpacing = [f"{plane.spacing_mm:g}"] * 2
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
    file.WindowCenter, file.WindowWidth = "300", "600"
    buffer = BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    place = data.index(b"\x20\x00\x13\x00IS") + 8  # (0020,0013) IS, length 4
    return data, data[place + 4 : place + 12]
