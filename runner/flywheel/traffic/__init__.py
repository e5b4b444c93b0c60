"""Files of production traffic → exchanges: one importer a format, in a table; personal data goes at the border."""

from flywheel.traffic.files import TornLine, read_items
from flywheel.traffic.formats import IMPORTERS, LOOKED_AT, detected, importer_of
from flywheel.traffic.importer import Importer, NotOfFormat
from flywheel.traffic.personal import Pseudonyms

__all__ = [
    "IMPORTERS",
    "LOOKED_AT",
    "Importer",
    "NotOfFormat",
    "Pseudonyms",
    "TornLine",
    "detected",
    "importer_of",
    "read_items",
]  # fmt: skip
