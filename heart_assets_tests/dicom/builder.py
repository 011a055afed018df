"""Tiny DICOM files, zips and folders, made by pydicom: what the tests of this room feed to it."""

import io
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from heart_assets.dicom import StudySource
from heart_assets.settings import GeometrySettings, SeriesSettings, ViewSettings

FOUR = (0.9954, 0.0, 0.0958, 0.0788, -0.5693, -0.8183)
THREE = (0.1983, 0.9660, 0.1658, 0.6414, 0.0, -0.7672)
TWO = (-0.6214, 0.7835, -0.0047, 0.0391, 0.0250, -0.9989)
OUTFLOW = (-0.0607, 0.9981, -0.0047, 0.1345, 0.0035, -0.9909)
FRAMES = 10
RR_MS = 1000
VIEWS = {
    "3ch": ViewSettings(series=("LAX_3Ch$", "_LAX$"), usual_normal=(-0.741, 0.259, -0.620), image_right=(0, 1, 0)),
    "4ch": ViewSettings(series=("LAX_4Ch$", "_LAX$"), usual_normal=(0.055, 0.822, -0.567), image_right=(1, 0, 0)),
}
SERIES = SeriesSettings()
GEOMETRY = GeometrySettings(frames=FRAMES, size_px=32, spacing_mm=4.0, crop_mm=100.0)


def beating(
    frames: int = FRAMES, rows: int = 40, columns: int = 48, row: float = 20.0, column: float = 24.0, radius: float = 8.0
) -> np.ndarray:
    """(frames, rows, columns) uint16: a bright disc on grey whose radius beats once."""
    y, x = np.mgrid[:rows, :columns]
    distance = np.hypot(y - row, x - column)
    radii = radius * (1 + 0.3 * np.cos(2 * np.pi * np.arange(frames) / frames))
    disc = np.clip(radii[:, None, None] - distance + 0.5, 0, 1)
    texture = 100 + 20 * np.sin(x / 3) * np.cos(y / 4)
    return np.rint(texture + 800 * disc).astype(np.uint16)


def dataset(pixels: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **changes: Any) -> FileDataset:
    """One single-frame MR image (rows, columns); `changes` are elements by keyword, None deletes one."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, syntax
    meta.MediaStorageSOPInstanceUID = changes.get("SOPInstanceUID", "1.2.3")
    file = FileDataset(
        "", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=syntax.is_implicit_VR, is_little_endian=syntax.is_little_endian
    )
    file.SpecificCharacterSet = "ISO_IR 100"
    file.SOPClassUID, file.SOPInstanceUID = MRImageStorage, "1.2.3"
    file.StudyDate = file.SeriesDate = file.AcquisitionDate = "20150830"
    file.SeriesTime = file.AcquisitionTime = "101500"
    file.Modality, file.StationName, file.SoftwareVersions = "MR", "STATION7", "soft 1"
    file.SeriesDescription, file.SeriesInstanceUID, file.SeriesNumber = "CINE_segmented_LAX_4Ch", "1.2.3.4.5.6", 5
    file.PatientAge, file.PatientSex = "063Y", "F"
    file.AcquisitionNumber, file.InstanceNumber, file.TriggerTime, file.NominalInterval = 1, 1, "0", RR_MS
    file.ImagePositionPatient, file.ImageOrientationPatient = [-90.0, 60.0, 70.0], list(FOUR)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.Rows, file.Columns = pixels.shape[-2:]
    file.PixelSpacing = [3.0, 3.0]
    bits = pixels.dtype.itemsize * 8
    file.BitsAllocated = file.BitsStored = bits
    file.HighBit, file.PixelRepresentation = bits - 1, int(pixels.dtype.kind == "i")
    file.PixelData = pixels.astype(pixels.dtype.newbyteorder("<" if syntax.is_little_endian else ">")).tobytes()
    file["PixelData"].VR = "OW" if bits > 8 else "OB"
    for keyword, value in changes.items():
        if value is None:
            file.pop(keyword, None)
        else:
            setattr(file, keyword, value)
    return file


def to_bytes(file: FileDataset) -> bytes:
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def cine(
    uid: str = "1.2.3.4.5.6",
    description: str = "CINE_segmented_LAX_4Ch",
    orientation: Iterable[float] = FOUR,
    pixels: np.ndarray | None = None,
    edit: Callable[[int, dict[str, Any]], None] | None = None,
    **changes: Any,
) -> dict[str, bytes]:
    """A single-frame cine as {file name: bytes}; names do not sort in time order. `edit(index, elements)` changes frames."""
    pixels = beating() if pixels is None else pixels
    files = {}
    for index, picture in enumerate(pixels):
        elements: dict[str, Any] = {
            "SeriesInstanceUID": uid,
            "SeriesDescription": description,
            "ImageOrientationPatient": list(orientation),
            "SOPInstanceUID": f"{uid}.{index + 1}",
            "InstanceNumber": index + 1,
            "TriggerTime": f"{index * RR_MS / len(pixels):.2f}",
            "CardiacNumberOfImages": len(pixels),
            **changes,
        }
        if edit is not None:
            edit(index, elements)
        files[f"{(index * 7 + 3) % 97:02d}.{uid}.dcm"] = to_bytes(dataset(picture, **elements))
    return files


def study(**changes: Any) -> dict[str, bytes]:
    """A sound study: both views."""
    return cine(**changes) | cine("1.2.3.4.5.7", "CINE_segmented_LAX_3Ch", THREE, SeriesNumber=6, **changes)


def enhanced(pixels: np.ndarray, **changes: Any) -> bytes:
    """An enhanced multi-frame MR image of a cine, its frames stored in reversed time order."""
    file = dataset(pixels, **{"NumberOfFrames": len(pixels), "SOPClassUID": EnhancedMRImageStorage, "NominalInterval": None, **changes})
    for keyword in ("TriggerTime", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "InstanceNumber"):
        delattr(file, keyword)
    measures, rescale = Dataset(), Dataset()
    measures.PixelSpacing = [3.0, 3.0]
    rescale.RescaleSlope, rescale.RescaleIntercept = "2", "-10"
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PixelValueTransformationSequence = Sequence([measures]), Sequence([rescale])
    file.SharedFunctionalGroupsSequence = Sequence([shared])
    groups = []
    for index in range(len(pixels)):
        plane, place, sync, frame = Dataset(), Dataset(), Dataset(), Dataset()
        plane.ImageOrientationPatient, place.ImagePositionPatient = list(FOUR), [-90.0, 60.0, 70.0]
        sync.NominalCardiacTriggerDelayTime = float(len(pixels) - 1 - index) * RR_MS / len(pixels)
        sync.RRIntervalTimeNominal = float(RR_MS)
        frame.PlaneOrientationSequence, frame.PlanePositionSequence = Sequence([plane]), Sequence([place])
        frame.CardiacSynchronizationSequence = Sequence([sync])
        groups.append(frame)
    file.PerFrameFunctionalGroupsSequence = Sequence(groups)
    return to_bytes(file)


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def source(path: Path, participant: str = "9000001") -> StudySource:
    """A study source on any path."""
    return StudySource(path, path.name, f"{participant}_2_0", participant, 2, path.stat().st_size, path.stat().st_mtime_ns)
