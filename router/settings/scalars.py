"""What the text of one value means, and the sentence when it means nothing."""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from router.model.transfer_syntax import TRANSFER_SYNTAXES
from router.rules.network import Network
from router.settings import statuses, units, windows
from router.settings.problems import did_you_mean

AE_TITLE_LENGTH = 16
HIGHEST_PORT = 65535
_NAME = re.compile(r"\w[\w .-]{0,63}")
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)+", re.ASCII)
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def _ae_title(text: str) -> str:
    """PS3.5 6.2, VR AE: at most 16 characters of the default repertoire, no backslash, no control character."""
    title = text.strip(" ")
    if not title:
        raise ValueError("an AE title is not empty and not only spaces")
    if len(title) > AE_TITLE_LENGTH:
        raise ValueError(f"an AE title has at most {AE_TITLE_LENGTH} characters, {title!r} has {len(title)}")
    if not (title.isascii() and title.isprintable()) or "\\" in title:
        raise ValueError(f"an AE title has printable ASCII characters except the backslash, unlike {title!r}")
    return title


def _host(text: str) -> str:
    if not text or re.search(r"[\s/@]", text):
        raise ValueError(f"{text!r} is not a host name or address")
    if ":" in text:
        try:
            ip_address(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a host name or address; a port has its own key") from None
    return text


def _port(number: int) -> int:
    if not 1 <= number <= HIGHEST_PORT:
        raise ValueError(f"{number} is not a TCP port (1–{HIGHEST_PORT})")
    return number


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"a name has up to 64 letters, digits, spaces, and any of _ . -, unlike {text!r}")
    return text


def _transfer_syntax(text: str) -> str:
    """A UID, or a name as the Standard writes it (PS3.6 Table A-1)."""
    by_name = {row.name.casefold(): uid for uid, row in TRANSFER_SYNTAXES.items()}
    if (uid := by_name.get(text.casefold())) is not None:
        return uid
    if not _UID.fullmatch(text):
        known = did_you_mean(text, [row.name for row in TRANSFER_SYNTAXES.values()])
        raise ValueError(
            f"{text!r} is neither the UID nor the name of a transfer syntax{f'; {known}' if known else ''}"
        )
    return text


def _boolean(value: object) -> object:
    """YAML 1.2 has these words only; ``yes`` and ``on`` are text."""
    if isinstance(value, str):
        if value not in _BOOLEANS:
            raise ValueError(f"{value!r} is neither true nor false")
        return _BOOLEANS[value]
    return value


def network(text: object) -> Network:
    """An address, or a network such as ``10.1.0.0/16``.

    Raises:
        ValueError: the sentence says what was meant, if it can be guessed.
    """
    try:
        return ip_network(str(text))
    except ValueError:
        pass
    try:
        wide = ip_network(str(text), strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an address or a network such as 10.1.0.0/16") from None
    raise ValueError(f"{text!r} is an address inside a network; write {wide} for the network")


def listed(value: object) -> object:
    """One value where a list is expected is a list of one."""
    return value if isinstance(value, list) else [value]


def _unit(parse: Callable[[str], object], pattern: str, example: str) -> tuple[PlainValidator, WithJsonSchema]:
    schema = {"type": "string", "pattern": pattern, "examples": [example]}
    return PlainValidator(parse), WithJsonSchema(schema)


_duration_validator, _duration_schema = _unit(units.duration, r"^[0-9]+(\.[0-9]+)? *(ms|s|m|h|d)$", "30s")
_reserve_validator, _reserve_schema = _unit(units.reserve, r"^[0-9]+(\.[0-9]+)? *(%|B|[KMGT]i?B)$", "5%")
_size_validator, _size_schema = _unit(units.room, r"^[0-9]+(\.[0-9]+)? *([KMGT]i?B|B)$", "50GiB")
_bandwidth_validator, _bandwidth_schema = _unit(units.bandwidth, r"^[0-9]+(\.[0-9]+)? *([KMGT]i?B|B) */ *s$", "10MB/s")
_window_validator, _window_schema = _unit(windows.window, windows.PATTERN, "Mon-Fri 19:00-06:00")

AETitle = Annotated[str, AfterValidator(_ae_title), WithJsonSchema({"type": ["string", "integer"]})]
Host = Annotated[str, AfterValidator(_host)]
TransferSyntaxUID = Annotated[str, AfterValidator(_transfer_syntax)]
Name = Annotated[str, AfterValidator(_name)]
Port = Annotated[int, AfterValidator(_port), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 65535})]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
# A default is written as in the file (`30s`), so that the schema shows it so: text, until it is checked.
Duration = Annotated[Any, _duration_validator, _duration_schema]
ReserveValue = Annotated[Any, _reserve_validator, _reserve_schema]
SizeValue = Annotated[Any, _size_validator, _size_schema]
BandwidthValue = Annotated[Any, _bandwidth_validator, _bandwidth_schema]
WindowValue = Annotated[Any, _window_validator, _window_schema]
StatusRange = Annotated[
    str, AfterValidator(statuses.checked), WithJsonSchema({"type": "string", "pattern": statuses.PATTERN})
]
NetworkValue = Annotated[Network, PlainValidator(network), WithJsonSchema({"type": "string"})]
