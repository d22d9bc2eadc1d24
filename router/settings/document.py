"""The configuration file as it is written: every key, its unit, its default, its meaning.

Private to ``router.settings``: what leaves is ``configuration.Configuration``. The descriptions become the JSON schema.
"""

from typing import Annotated, Any, Self, get_args

from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from router.model.destination import AssociationPer, Duplicates, ProposeStored, Ruling, Strategy
from router.model.destination import Prefer as SendPrefer
from router.rules.acceptance import Prefer, Truncated, UnknownSOPClasses
from router.rules.routing import Unrouted
from router.settings.alerts import AlertSection, SilenceSection
from router.settings.configuration import Level, LogFormat, LogUIDs
from router.settings.routes import RouteSection, TestSection
from router.settings.scalars import (
    AETitle,
    BandwidthValue,
    Boolean,
    Duration,
    Host,
    Name,
    NetworkValue,
    Port,
    ReserveValue,
    SizeValue,
    StatusRange,
    TransferSyntaxUID,
    WindowValue,
    listed,
)
from router.settings.section import Section as _Section
from router.settings.tls import DestinationTlsSection, ListenTlsSection

ANY_AE_TITLE = "any"
RECEIVED_AE_TITLE = "received"


class AllowSection(_Section):
    """Who may send: a calling AE title, hosts, or an AE title from these hosts only."""

    ae_title: AETitle | None = None
    """Calling AE title; `*` and `?` are wildcards. Left out: any AE title from these hosts."""
    hosts: Annotated[list[NetworkValue], BeforeValidator(listed, json_schema_input_type=str | list[str])] = Field(
        default_factory=list
    )
    """Addresses or networks, such as `10.1.0.0/16`. Left out: this AE title from anywhere."""
    certificate: Annotated[str, Field(min_length=1)] | None = None
    """A name in the certificate that the sender has to show: a DNS name, or the common name."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.ae_title is None and not self.hosts and self.certificate is None:
            raise ValueError("names neither an `ae_title` nor `hosts`; for everybody write `allow_any: true`")
        return self


class ReceiveDeadlinesSection(_Section):
    """How long a sender may take."""

    request: Duration = "10s"
    """For its whole association request."""
    pdu: Duration = "60s"
    """For any one PDU in total, however its bytes trickle."""
    between_pdus: Duration = "60s"
    """Between the PDUs of one message."""
    idle: Duration = "10m"
    """Between messages; carts send during the examination."""


class UserIdentitySection(_Section):
    """Users whom associations name (PS3.7 D.3.3.7), with a name, or a name and a passcode."""

    users_file: str = Field(min_length=1)
    """One line each: `name passcode`, or `name`; nobody else may read it. Meant from this file's folder."""
    required: Boolean = True
    """Whether an association that names nobody is rejected. A wrong passcode always is."""


class ListenSection(_Section):
    """One port on which modalities call."""

    name: Name | None = None
    """For logs; otherwise `host:port`."""
    ae_title: AETitle | None = None
    """Our AE title, default ROUTER. Associations that call another one are rejected."""
    ae_titles: Annotated[list[AETitle], BeforeValidator(listed, json_schema_input_type=str | list[str])] | None = None
    """Several AE titles of ours, or `any`; instead of `ae_title`."""
    host: Host = "0.0.0.0"  # noqa: S104 - modalities call from elsewhere; nobody is let in until `allow` says so
    """Address to listen on; `0.0.0.0` is every IPv4 address of this machine."""
    port: Port = 11112
    """TCP port to listen on."""
    allow_any: Boolean = False
    """Whether any calling AE title from any address may send."""
    allow: list[AllowSection] = Field(default_factory=list)
    """Who may send. Nobody else may, unless `allow_any` is true."""
    max_associations: int = Field(default=64, ge=1)
    """How many associations may be open at once; more are rejected for the moment."""
    max_associations_per_host: int = Field(default=8, ge=1)
    """How many of them from one address."""
    prefer: Prefer = Prefer.REQUESTOR
    """Which of several proposed transfer syntaxes is taken: the requestor's first, a native or a compressed one."""
    unknown_sop_classes: UnknownSOPClasses = UnknownSOPClasses.ACCEPT
    """Whether SOP classes are stored that no registry knows, private ones among them."""
    truncated: Truncated = Truncated.REFUSE
    """What an object gets whose last element runs past its end: status C000H, or it is kept as it is."""
    deadlines: ReceiveDeadlinesSection = Field(default_factory=ReceiveDeadlinesSection)
    """How long a sender may take."""
    tls: ListenTlsSection | None = None
    """Left out: in the clear. There is no port for both."""
    user_identity: UserIdentitySection | None = None
    """Left out: whom an association names is not looked at."""

    @model_validator(mode="after")
    def _certificates_are_asked_for(self) -> Self:
        if (self.tls is None or self.tls.client_ca is None) and any(row.certificate for row in self.allow):
            raise ValueError("`allow` names a `certificate`, and senders are not asked for one: write `tls.client_ca`")
        return self

    @model_validator(mode="after")
    def _one_way_to_name_us(self) -> Self:
        if self.ae_title is not None and self.ae_titles is not None:
            raise ValueError("`ae_title` and `ae_titles` are two ways to say the same; keep one")
        if self.ae_title == ANY_AE_TITLE:
            raise ValueError("write `ae_titles: any` to take associations for any AE title")
        if self.ae_titles == []:
            raise ValueError("`ae_titles` is empty: nobody could call; name one, or write `any`")
        return self


class SpoolSection(_Section):
    """Where instances are kept until they are delivered, and the queue."""

    directory: str = Field(default="/var/lib/dicom-router", min_length=1)
    """Folder; a relative one is meant from the configuration file's folder."""
    reserve: ReserveValue = "5%"
    """Free space on the disk below which new objects are refused (A700H): a part of the disk, or a size."""
    keep_delivered: Duration = "24h"
    """How long delivered instances are kept; the oldest go first when the disk needs the room."""


class HistorySection(_Section):
    """How much is remembered of what happened to each delivery."""

    keep: Duration = "90d"
    """How long."""
    size: SizeValue = "2GiB"
    """Room on the disk; the oldest go first. A million deliveries take about 500 MB."""


class BackOffSection(_Section):
    """A destination's own waiting, while it is in trouble."""

    initial: Duration = "5s"
    """After the first failure; doubles from there."""
    maximum: Duration = "60s"
    """The longest wait."""


class RetrySection(_Section):
    """One instance's waiting, after failures of its own."""

    initial: Duration = "5s"
    """After the first failure; doubles from there."""
    maximum: Duration = "30m"
    """The longest wait."""
    give_up_after: Duration = "7d"
    """When it becomes a dead letter; counts only while the destination works."""


class SendDeadlinesSection(_Section):
    """How long a destination may take."""

    connect: Duration = "10s"
    """For the TCP connection."""
    association: Duration = "30s"
    """For the answer to the association request."""
    response: Duration = "120s"
    """For the answer to a C-STORE, from the last byte sent."""
    linger: Duration = "2s"
    """How long an idle association is kept for the next instance."""


class DestinationSection(_Section):
    """One PACS that instances are forwarded to."""

    name: Name
    """What routes call it; in a file of its own, by default the file's name without its ending."""
    remote_ae_title: AETitle
    """The AE title of the PACS."""
    remote_host: Host
    """Its host name or address."""
    remote_port: Port
    """Its TCP port."""
    local_ae_title: AETitle = "ROUTER"
    """The AE title we call ourselves by; `received`: the modality's own."""
    transfer_syntax_strategy: Strategy = Strategy.CONSERVATIVE
    """Which transfer syntaxes are proposed first; the fallback goes towards `universal`."""
    max_association_retries: int = Field(default=3, ge=0, le=10)
    """How many further associations one attempt may open, with other strategies."""
    max_associations: int = Field(default=2, ge=1, le=64)
    """How many associations may be open to it at once."""
    max_instances_per_association: int | None = Field(default=None, ge=1)
    """After how many instances an association is released and another one opened. Left out: no limit."""
    bandwidth: BandwidthValue | None = None
    """How much is sent to it, over all associations: `10MB/s`. Left out: as fast as it goes."""
    only: Annotated[
        list[WindowValue], BeforeValidator(listed, json_schema_input_type=WindowValue | list[WindowValue])
    ] = Field(default_factory=list)
    """When it may be sent to, in local time: `Mon-Fri 19:00-06:00`, or a list of such windows. A window belongs to the
    days on which it begins; one that ends when it begins lasts a whole day. Left out: always."""
    association_per: AssociationPer = AssociationPer.ANY
    """What one association may carry: for receivers that take its end for the end of a study or series."""
    wait_for_quiet: Duration | None = None
    """A study is sent when nothing more of it has arrived for so long. Left out: at once."""
    propose_stored: ProposeStored = ProposeStored.AUTO
    """Whether an instance is proposed in the syntax it is stored in, beside the strategy's."""
    transfer_syntaxes: Annotated[
        list[TransferSyntaxUID], BeforeValidator(listed, json_schema_input_type=str | list[str])
    ] = Field(default_factory=list)
    """In place of a strategy: exactly these may be proposed, by UID or by name; there is no fallback from them."""
    prefer: SendPrefer = SendPrefer.STORED
    """Which accepted transfer syntax an instance is sent in: as `stored`, or the `smallest` lossless one."""
    decompress_lossy: Boolean = True
    """Whether an instance that is stored lossy may be sent native where its stored syntax is refused."""
    never_convert: Boolean = False
    """Whether instances are sent in their stored transfer syntax or not at all."""
    duplicate_is_delivered: Boolean = False
    """Whether the answer "duplicate SOP instance" (0111H) counts as delivered."""
    duplicates: Duplicates = Duplicates.ALWAYS
    """Whether an instance is sent again that comes again with the same bytes: `always`, or `once` in
    `duplicate_window`. With other bytes it is always sent."""
    duplicate_window: Duration = "24h"
    """How long `duplicates: once` remembers."""
    quota: SizeValue | None = None
    """How much of the spool may wait for it: `50GiB`; more is warned of. Left out: no limit but the disk."""
    best_effort: Boolean = False
    """Whether it gives up what has waited longest when it is over its quota: dead letters, logged and counted."""
    statuses: dict[StatusRange, Ruling] = Field(default_factory=dict)
    """What C-STORE statuses mean here, where this PACS uses them differently: `{A700: refuse, C000-CFFF: defer}`. Four
    hexadecimal digits or a range of them; the first that fits counts."""
    allow_return: Boolean = False
    """Whether instances go back to the very peer that sent them."""
    renamed_from: Name | None = None
    """The name it had before: what waits under that one is taken over."""
    back_off: BackOffSection = Field(default_factory=BackOffSection)
    """The destination's own waiting, while it is in trouble."""
    retry: RetrySection = Field(default_factory=RetrySection)
    """One instance's waiting, after failures of its own."""
    deadlines: SendDeadlinesSection = Field(default_factory=SendDeadlinesSection)
    """How long it may take."""
    tls: DestinationTlsSection | None = None
    """Left out: in the clear. With it there is never a connection in the clear."""

    @model_validator(mode="after")
    def _strategy_or_list(self) -> Self:
        if self.transfer_syntax_strategy is Strategy.LISTED and not self.transfer_syntaxes:
            raise ValueError("`transfer_syntax_strategy: listed` needs a list of `transfer_syntaxes`")
        if self.transfer_syntaxes and "transfer_syntax_strategy" in self.model_fields_set:
            raise ValueError("`transfer_syntaxes` stands in place of `transfer_syntax_strategy`; keep one")
        return self


class LogSection(_Section):
    """What is logged, and how."""

    level: Level = Level.INFO
    """The least grave events that are logged."""
    format: LogFormat = LogFormat.AUTO
    """How lines look; `auto`: JSON unless on a terminal."""
    uids: LogUIDs = LogUIDs.HASH
    """Instance and study UIDs: as keyed hashes, as they are, or left out."""


class HttpSection(_Section):
    """Status page, API, metrics and health."""

    host: Host = "127.0.0.1"
    """Address to listen on."""
    port: Port = 8080
    """TCP port to listen on."""
    enabled: Boolean = True
    """Whether anything is served over TCP where this section is written; the Unix socket for commands always is."""
    tokens_file: str | None = None
    """File of tokens, one `name role token` in a line, that nobody else may read; roles are `read` and `operate`.
    Without it everybody on this machine may read, nobody may change anything, and no other address can be served."""
    allowed_hosts: Annotated[list[Host], BeforeValidator(listed, json_schema_input_type=str | list[str])] = Field(
        default_factory=list
    )
    """Further names by which the status page is called, such as that of a proxy before it."""
    show_patient: Boolean = False
    """Whether patient names and the comments of peers are shown over TCP."""


class Document(BaseSettings):
    """Configuration of dicom-router."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, validate_default=True, use_attribute_docstrings=True, title="dicom-router"
    )

    listen: Annotated[
        list[ListenSection],
        BeforeValidator(listed, json_schema_input_type=ListenSection | list[ListenSection]),
        Field(min_length=1),
    ] = Field(default_factory=lambda: [ListenSection()])
    """One listener, or a list of them."""
    spool: SpoolSection = Field(default_factory=SpoolSection)
    """Where instances are kept until they are delivered."""
    history: HistorySection = Field(default_factory=HistorySection)
    """How much is remembered of what happened to each delivery; a lost queue is rebuilt with it."""
    routes: list[RouteSection] = Field(default_factory=list)
    """Every route that matches adds its destinations. Left out: everything goes to the only destination."""
    tests: list[TestSection] = Field(default_factory=list)
    """Instances and where the routes must lead them; a configuration that fails one is not used."""
    unrouted: Unrouted = Unrouted.HOLD
    """What becomes of an instance that no route takes: kept for an operator, dropped and logged, or refused (0124H)."""
    destinations: list[DestinationSection] = Field(default_factory=list)
    """The PACS; also one file each in the folder `destinations` beside this file."""
    log: LogSection = Field(default_factory=LogSection)
    """What is logged, and how."""
    http: HttpSection | None = None
    """Status page, API, metrics and health, over TCP. Left out: only over the Unix socket."""
    socket: str | None = None
    """Unix socket for commands, at most 107 bytes; otherwise in `$RUNTIME_DIRECTORY`, or in the spool."""
    alerts: list[AlertSection] = Field(default_factory=list)
    """Who is told when something is wrong, without a monitoring system: by HTTP, by mail, or by a command."""
    silence: list[SilenceSection] = Field(default_factory=list)
    """Modalities that send regularly: when one does not, that is worth an alert."""
    drain: Duration = "60s"
    """How long a stopping daemon goes on with what is under way."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """File and environment are one tree by now (``environment``), so that every value has a place."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, alone, in a list, or not always; None for a field that holds values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(section_of, get_args(annotation))), None)
