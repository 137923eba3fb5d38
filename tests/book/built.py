"""What the book is built of, and the sizes its pages are looked at in."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(entry["file"] for part in TOC["parts"] for entry in part["chapters"])]
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
