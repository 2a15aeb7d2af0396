"""Reading what a WDL source or an input names on the web, and nothing that only this machine can reach.

An address may come from a document that somebody else wrote, or from a redirection. A cloud machine answers on
link-local addresses with its own credentials ("instance metadata"), so no such address is ever asked, however it is
spelt and whatever its name resolves to; the address that is really connected to is what is checked. This module knows
no WDL.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import urllib.request
from typing import Any

_METADATA = tuple(
    map(
        ipaddress.ip_network,
        # EC2 and ECS, IPv4 and IPv6 (Amazon EC2 user guide, "Instance Metadata Service"); other clouds' after them.
        ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32"),
    )
)


class RefusedAddressError(OSError):
    """An address that must not be asked."""


def check_address(address: str) -> None:
    """Refuse an IP address on which machines of a cloud give away their credentials.

    :raises RefusedAddressError: naming it.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or _nat64(found)
        found = inner or found
    if any(found.version == network.version and found in network for network in _METADATA):
        raise RefusedAddressError(f"{address} is an address of instance metadata, which is not read")


def open_url(url: str, *, timeout: float) -> Any:
    """Open an http(s) URL for reading; redirections are followed.

    :raises OSError: if it cannot be read; `RefusedAddressError` if it, or a redirection, leads to instance metadata.
    """
    try:
        return _OPENER.open(url, timeout=timeout)
    except (http.client.HTTPException, ValueError) as error:  # no URL, or no HTTP
        raise OSError(f"not a readable URL: {error}") from error


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _checked(address: tuple[str, int], *more: Any, **others: Any) -> socket.socket:
    """Connect to the first of a name's addresses that answers, if none of them is refused."""
    host, port = address
    for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        check_address(str(found[0]))
    connected = socket.create_connection(address, *more, **others)
    try:
        # The name may have been given another address meanwhile.
        check_address(str(connected.getpeername()[0]))
    except OSError:
        connected.close()
        raise
    return connected


class _Connection(http.client.HTTPConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = _checked


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = _checked


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> Any:
        _check_named(request)
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> Any:
        _check_named(request)
        return self.do_open(_SecureConnection, request)


def _check_named(request: urllib.request.Request) -> None:
    """Where a proxy makes the connection, the name alone can be checked."""
    try:
        found = socket.getaddrinfo(request.host.rpartition("@")[2].rsplit(":", 1)[0].strip("[]"), None)
    except (OSError, UnicodeError):
        return  # a proxy may know it
    for *_, address in found:
        check_address(str(address[0]))


class _NoOtherScheme(urllib.request.BaseHandler):
    def file_open(self, request: urllib.request.Request) -> Any:
        raise RefusedAddressError(f"only http and https are read, not {request.type}")

    ftp_open = data_open = unknown_open = file_open


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        _Http,
        _Https,
        _NoOtherScheme,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


_OPENER = _opener()
