"""How fast the router is, beside DCMTK and pynetdicom, in the same run and on the same files."""
