"""What the router conforms to, for those who connect something with it."""

from router.cli.output import show


def conformance() -> None:
    """Print the DICOM Conformance Statement (PS3.2) of this version, as a page in Markdown."""
    from router.cli.statement import statement

    show(statement())
