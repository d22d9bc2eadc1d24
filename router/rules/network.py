"""Addresses of peers, compared as addresses and not as text."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that ``host`` writes, or None for a name.

    IPv4 mapped into IPv6 is IPv4: a listener on ``::`` sees peers so.
    """
    try:
        parsed = ip_address(host)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed


def within(host: str, networks: Iterable[Network]) -> bool:
    """Whether the address ``host`` lies in one of ``networks``; a name lies in none."""
    parsed = address(host)
    return parsed is not None and any(parsed in network for network in networks)


def same_host(one: str, other: str) -> bool:
    """Whether two hosts, each an address or a name, are the same as far as their text tells."""
    parsed = address(one)
    return one.casefold() == other.casefold() if parsed is None else parsed == address(other)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address ``host``; of names, only ``localhost`` says so."""
    parsed = address(host)
    return host.casefold() == "localhost" if parsed is None else parsed.is_loopback
