"""Routes as they are written, and the tests that say where they must lead."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from router.settings.scalars import Boolean, Duration, listed
from router.settings.section import Section

UNROUTED = "unrouted"


class TargetSection(Section):
    """Several destinations, of which an instance is owed to the first that works."""

    first_of: list[str] = Field(min_length=2)
    """Names of destinations, the preferred one first. A study stays with the one that it began with."""
    failover_after: Duration | None = None
    """When what waits for one in trouble moves on to the next. Left out: it stays; what comes later goes elsewhere."""


def _targets(value: object) -> object:
    """One target alone is a list of one; a name is a target of one destination."""
    each_of = value if isinstance(value, list) else [value]
    return [TargetSection.model_construct(first_of=[each]) if isinstance(each, str) else each for each in each_of]


Targets = Annotated[
    list[TargetSection],
    BeforeValidator(_targets, json_schema_input_type=str | TargetSection | list[str | TargetSection]),
    Field(min_length=1),
]


class RouteSection(Section):
    """What matches `when` goes `to` these destinations."""

    name: str = ""
    """For logs and explanations."""
    when: dict[str, Any] = Field(default_factory=dict)
    """Conditions that must all hold: `calling_ae_title`, `called_ae_title`, `peer` (address or network), DICOM keywords
    at top level, each with a value (`*` and `?` are wildcards), a list (any of them) or a range (`{from: , to: }`);
    `not`, `any` and `all` with further conditions. Left out: every instance."""
    to: Targets
    """Names of destinations; or `{first_of: [A, B]}` for the first of several that works."""
    stop: Boolean = False
    """Whether a match ends the search; otherwise later routes add their destinations."""
    priority: Literal["urgent", "normal", "bulk"] = "normal"
    """How urgent it is at its destinations. Each priority has its share, so that none starves another."""


def _expectation(value: object) -> object:
    """`unrouted`, or where it goes, in short."""
    if value == UNROUTED:
        return ExpectSection.model_construct(to=[], route=[])
    return {"to": value} if isinstance(value, str | list) else value


class ExpectSection(Section):
    """What the routes must say about an instance."""

    to: Targets | None = None
    """Where it goes, as in a route, in any order. Left out: not asked."""
    route: Annotated[list[str], BeforeValidator(listed, json_schema_input_type=str | list[str])] = Field(
        default_factory=list
    )
    """Names of routes that match it; others may match too. Left out: not asked."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.to is None and not self.route:
            raise ValueError("expects nothing; write `to:` with destinations, `route:` with routes, or `unrouted`")
        return self


class TestSection(Section):
    """An instance, and where the routes must lead it; whenever the configuration is read."""

    name: str = ""
    """For the error when it fails."""
    given: dict[str, Annotated[list[str], BeforeValidator(listed, json_schema_input_type=str | list[str])]]
    """What the instance is: `calling_ae_title`, `called_ae_title` (left out: the first listener's), `peer` (an
    address), DICOM keywords, each with its value or a list of its values. What is left out, it does not have."""
    expect: Annotated[
        ExpectSection,
        BeforeValidator(_expectation, json_schema_input_type=str | list[str | TargetSection] | ExpectSection),
    ]
    """Names of destinations; or `unrouted`; or `{to: , route: }`."""
