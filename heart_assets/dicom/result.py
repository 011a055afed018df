"""What cleaning a delivery gives, as a value. Light: whoever only passes it on need not load the DICOM reader."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class DeliveryResult:
    """What a delivery gave.

    Attributes:
        stores: view -> store file in the scratch folder, in the order of the studies' names.
        rejected: file_name, view (`all`: every view), reason, detail.
        accounting: found, stored, rejected, unchanged, removed (studies); gone (in the previous stores but no longer
            listed; not part of found); reasons {code: rows}; and per_view {view: the first five}.
    """

    stores: dict[str, Path]
    rejected: pd.DataFrame
    accounting: dict[str, Any]
