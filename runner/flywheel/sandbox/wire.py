"""What is said over the sockets to a zygote and to its programs; see `zygote`."""

from __future__ import annotations

import struct

RECORD_BYTES = 512
MAX_FDS = 5
STARTED, ENDED, REFUSED, KILL = b"S", b"E", b"X", b"K"
ENDED_STATUS = struct.Struct("=i")
