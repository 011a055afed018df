"""The store: cleaned videos and maps as HDF5 files that any h5py user can read, and that training reads by `preadv`.

What belongs here: the file layout, writing it atomically with bounded memory, reading rows of pixels and the table
beside them. What does not: where pixels come from (dicom), ages and splits (statistics), training clips (learning).
"""

from heart_assets.store.layout import IMAGE_COLUMNS, VIDEO_COLUMNS, StoreError
from heart_assets.store.reader import ImageStore, VideoStore
from heart_assets.store.writer import ImageWriter, VideoWriter

__all__ = ["IMAGE_COLUMNS", "VIDEO_COLUMNS", "ImageStore", "ImageWriter", "StoreError", "VideoStore", "VideoWriter"]
