"""From which addresses a logo may be fetched. Pure: names are resolved elsewhere.

Whoever may write the report settings names an address, and a worker that stands inside goes
there. So an address must be on the internet, unless the settings of the workers name its host.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from urllib.parse import quote, urljoin, urlsplit

import idna

from shared.errors import Permanent

PORTS = {"http": 80, "https": 443}
LONGEST = 2_000

Address = IPv4Address | IPv6Address


class LogoRefused(Permanent):
    """A logo is not fetched from this address."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to go, taken apart once: nothing reads the address a second time, and differently."""

    scheme: str
    #: As resolved, asked for and checked in certificates: lower case ASCII, no final dot.
    host: str
    port: int
    #: Path and query, ASCII.
    path: str
    #: Whether the workers' settings name the host, so that it may be inside.
    trusted: bool = False

    @property
    def origin(self) -> str:
        """What may stand in a log: no path or query, which may hold a secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == PORTS[self.scheme]
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")


#: One that a resolver takes; the sign `_` is no letter of host names, and is found in them.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_PORT = re.compile(r"[1-9]\d{0,4}", re.ASCII)
#: Characters that programs drop, take for others, or split at.
_ODD = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]")
#: The last part of a host that is meant to be a number: all of "127.1", "0x7f.1", "2130706433".
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


def target(url: str, *, trusted: Collection[str] = ()) -> Target:
    """Take an address apart, or raise `LogoRefused` with what is wrong about it.

    `trusted` are hosts that may be inside, and at any port.
    """
    if len(url) > LONGEST or _ODD.search(url):
        raise LogoRefused("it is too long, or has spaces, backslashes or control characters")
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise LogoRefused("it is no address") from exc
    if parts.scheme not in PORTS:
        raise LogoRefused("it is no http:// or https:// address")
    if "@" in parts.netloc:
        raise LogoRefused("a user or password stands in it")
    written, port = _split(parts.netloc)
    host = _host(written)
    number = int(port) if port else PORTS[parts.scheme]
    if number > 65_535:
        raise LogoRefused("its port is none")
    inside = host in {_trusted(name) for name in trusted}
    if not inside and number not in PORTS.values():
        raise LogoRefused(f"its port is neither 80 nor 443, and {_setting(host)}")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]")
    return Target(parts.scheme, host, number, f"{path}?{query}" if query else path, inside)


def redirected(at: Target, location: str, *, trusted: Collection[str] = ()) -> Target:
    """Return where a redirect leads, judged like any address; never from https to http.

    Raises `LogoRefused`.
    """
    if len(location) > LONGEST or _ODD.search(location):
        raise LogoRefused("it leads to an address that is none")
    try:
        joined = urljoin(f"{at.origin}{at.path}", location)
    except ValueError as exc:
        raise LogoRefused("it leads to an address that is none") from exc
    found = target(joined, trusted=trusted)
    if at.scheme == "https" and found.scheme == "http":
        raise LogoRefused("it leads from https to http")
    return found


def check(host: str, found: Collection[str], *, trusted: bool = False) -> list[Address]:
    """Return what a host was resolved to, or raise `LogoRefused` if any of it is inside.

    All must be outside: whoever answers with one of each means the other.
    """
    try:
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
    except ValueError as exc:
        raise LogoRefused(f"{host} has an address that is none") from exc
    if not addresses:
        raise LogoRefused(f"{host} has no address")
    if not trusted and any(is_inside(address) for address in addresses):
        raise LogoRefused(f"{host} is inside this network, and {_setting(host)}")
    return addresses


def _setting(host: str) -> str:
    return f"BROADSHEET_LOGO_HOSTS does not name {host}"


def _split(netloc: str) -> tuple[str, str]:
    """Part host and port; the port is "" or the digits of a number."""
    if netloc.startswith("["):
        host, bracket, rest = netloc.partition("]")
        written = f"{host}{bracket}"
    else:
        written, colon, port = netloc.partition(":")
        rest = f"{colon}{port}"
    if rest in ("", ":"):
        return written, ""
    if not rest.startswith(":") or not _PORT.fullmatch(rest[1:]):
        raise LogoRefused("its port is none")
    return written, rest[1:]


def _host(written: str) -> str:
    """Return a host in the one spelling that everything after this sees."""
    if written.startswith("["):
        try:
            # A zone ("%eth0") would name a network card of ours.
            return str(IPv6Address(written[1:-1].replace("%", "no zone")))
        except ValueError as exc:
            raise LogoRefused("its host is none") from exc
    try:
        # Wide, circled and superscript digits become digits here, and ideographic stops dots.
        ascii_only = written if written.isascii() else idna.encode(written, uts46=True).decode()
    except (idna.IDNAError, UnicodeError) as exc:
        raise LogoRefused("its host is none") from exc
    host = ascii_only.lower().removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise LogoRefused("its host is none")
    if _NUMBER.fullmatch(labels[-1]):
        # Resolvers read "0177.1" and "2130706433" as addresses, each in its way; we read one way.
        try:
            return str(IPv4Address(host))
        except ValueError as exc:
            raise LogoRefused("its host is a number, and no address of four numbers") from exc
    return host


def _trusted(name: str) -> str:
    """Return a host of the settings as `_host` spells it; itself where that is none."""
    bare = name.strip().lower()
    try:
        return _host(f"[{bare}]" if ":" in bare and not bare.startswith("[") else bare)
    except LogoRefused:
        return bare


# -- what is inside -------------------------------------------------------------------------

#: Not what Python calls private, and not the internet either.
_MORE_INSIDE = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT; some clouds keep their metadata there
            "192.0.0.0/24",  # protocols; another cloud's metadata
            "192.88.99.0/24",  # relays of 6to4
            "198.18.0.0/15",
            "224.0.0.0/3",  # multicast, reserved, broadcast
            "168.63.129.16/32",  # a cloud's own services, under a public address
            "fec0::/10",  # site-local, before there were unique local addresses
            "2001::/23",  # protocols, with Teredo
            "64:ff9b:1::/48",  # NAT64 of this network's own
            "100::/64",
            "ff00::/8",
        ),
    )
)
#: IPv6 with an IPv4 address in it: the network, and how many bits stand after that address.
_CARRIERS = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
#: ISATAP puts its IPv4 address behind these, in any network.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def is_inside(address: Address) -> bool:
    """Whether an address is not on the internet, be it in the clothes of another one."""
    if any(address in network for network in _MORE_INSIDE if network.version == address.version):
        return True
    if isinstance(address, IPv4Address):
        return not address.is_global
    for network, shift in _CARRIERS:
        if address in network:
            return is_inside(IPv4Address(int(address) >> shift & 0xFFFF_FFFF))
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        carried = IPv4Address(int(address) & 0xFFFF_FFFF)
        return is_inside(carried) or not address.is_global
    return not address.is_global
