"""Value representations (PS3.5 6.2)."""

LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""Those whose explicit encoding has a 32-bit length (PS3.5 7.1.2)."""
