"""The pictures of the README and the documentation, made from the demo: `make demo`, then `make pictures`.

The asset graph is a screenshot of the running web UI (`make ui` in another terminal), taken where Chromium is installed;
everything else comes from the demo's files.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from heart_assets import pictures
from heart_assets.files import write_bytes
from heart_assets.ledger import Study
from heart_assets.phantom import montage
from heart_assets.settings import load_settings
from heart_assets.store import VideoStore

DOCS = Path(__file__).resolve().parent / "pictures"
UI = "http://127.0.0.1:3000"
GROUPS = ("raw", "cleaning", "folds", "learning", "scores")


def main() -> None:
    """Make every picture that can be made here."""
    study = Study(load_settings())
    deliveries = study.made_deliveries("heart_videos")
    if not deliveries:
        sys.exit("there is no demo to make pictures of: run `make demo` first")
    Image.fromarray(montage()).save(_place("phantom.png"), optimize=True)
    for view in study.views:
        store = VideoStore([study.layout.videos(view, delivery) for delivery in deliveries])
        write_bytes(DOCS / f"cine_{view}.gif", pictures.cine_gif(store.read(np.array([0]))[0]))
        write_bytes(DOCS / f"cleaned_{view}.png", pictures.montage(list(store.read(np.arange(min(4, len(store)))))))
    for name in ("scores.png", "ensemble.png"):
        shutil.copyfile(study.layout.picture("scores") / name, DOCS / name)
    _screenshot(DOCS / "asset_graph.png")


def _place(name: str) -> Path:
    DOCS.mkdir(parents=True, exist_ok=True)
    return DOCS / name


def _screenshot(path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("no Chromium here: the asset graph's picture stays as it is")
        return
    expanded = quote(",".join(f"global@global:{group}" for group in GROUPS))
    with tempfile.TemporaryDirectory() as profile:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        subprocess.run(
            [
                chromium,
                "--headless",
                "--disable-gpu",
                "--disable-background-networking",
                "--no-first-run",
                f"--user-data-dir={profile}",
                "--window-size=2400,1300",
                "--virtual-time-budget=30000",
                f"--screenshot={path}",
                *sandbox,
                f"{UI}/asset-groups?expanded={expanded}",
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


if __name__ == "__main__":
    main()
