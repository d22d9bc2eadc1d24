"""The DICOM edge: sockets, associations, Part 10 files and conversions. What the rest of the house never sees."""

IMPLEMENTATION_CLASS_UID = "2.25.145846254373193046364951158211353946391"
"""Ours, under the UUID root that needs no registration (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME = "DICOM-ROUTER-01"
"""At most 16 characters (PS3.7 D.3.3.2.3)."""
