"""What every section of the configuration file has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Keys that are not here are errors; defaults are written as in the file and checked as if they stood there."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True)
