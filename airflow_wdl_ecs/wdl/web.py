"""Reading what a WDL source or an input names on the web, and nothing that only this machine can reach.

An address may come from a document that somebody else wrote, or from a redirection. A cloud machine answers on
link-local addresses with its own credentials ("instance metadata"), so no such address is ever asked, however it is
spelt and whatever its name resolves to; the address that is really connected to is what is checked. Who fetches for
others, as a deployment does for whoever may start its runs, asks public addresses alone. This module knows no WDL.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import string
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

Check = Callable[[str], None]
"""Raises `RefusedAddressError` for an IP address that must not be asked."""

MustBePublic = Callable[[str], bool]
"""Of a URL: whether addresses that not everybody can reach are refused. It is asked for each URL of a redirection."""

_METADATA = tuple(
    map(
        ipaddress.ip_network,
        # EC2 and ECS, IPv4 and IPv6 (Amazon EC2 user guide, "Instance Metadata Service"); other clouds' after them.
        ("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32"),
    )
)


def is_web(path: str) -> bool:
    """Whether a path is the URL of a file on the web."""
    return path.startswith(("http://", "https://"))


class RefusedAddressError(OSError):
    """An address that must not be asked."""


class NoUrlError(OSError):
    """What nobody can be asked for, however often; the error does not repeat it, since it may have secrets."""


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


def check_public(address: str) -> None:
    """Refuse an IP address that not everybody can reach, as well as those of instance metadata.

    :raises RefusedAddressError: naming it.
    """
    check_address(address)
    if not ipaddress.ip_address(address.partition("%")[0]).is_global:
        raise RefusedAddressError(f"{address} is no public address")


def _from_anywhere(url: str) -> bool:
    return False


def open_url(
    url: str,
    *,
    timeout: float,
    public: MustBePublic = _from_anywhere,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Open an http(s) URL for reading; redirections are followed.

    :param url: its path and query need not be quoted. :param headers: of the request.
    :raises OSError: if it cannot be read; `RefusedAddressError` if it, or a redirection, leads to instance metadata, or
        to an address that must be public and is not; `NoUrlError` if it is none.
    """
    try:
        request = urllib.request.Request(_quoted(url), headers=dict(headers or {}))  # noqa: S310 - no other is opened
        return _opener(public).open(request, timeout=timeout)
    except (http.client.InvalidURL, ValueError):
        raise NoUrlError("not a readable URL") from None
    except http.client.HTTPException as error:
        raise OSError(f"no answer in HTTP: {error}") from error


def _quoted(url: str) -> str:
    """The URL with what no request can have quoted; all else stays, since it may be signed."""
    parts = urllib.parse.urlsplit(url)
    path, query = (urllib.parse.quote(text, safe=string.punctuation) for text in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def shown(url: str) -> str:
    """A URL without what gives access to it; a URI of S3, which has nothing of the kind, and a path as they are."""
    if url.startswith("s3://") or "://" not in url:
        return url
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:  # the host is none
        return f"{url.partition('://')[0]}://..."
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit(
        (parts.scheme, host, parts.path, "...", "") if parts.query else (*parts[:1], host, parts.path, "", "")
    )


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in ipaddress.ip_network("64:ff9b::/96"):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _connect(check: Check, address: tuple[str, int], *more: Any, **others: Any) -> socket.socket:
    """Connect to the first of a name's addresses that answers, if none of them is refused."""
    host, port = address
    for *_, found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        check(str(found[0]))
    connected = socket.create_connection(address, *more, **others)
    try:
        # The name may have been given another address meanwhile.
        check(str(connected.getpeername()[0]))
    except OSError:
        connected.close()
        raise
    return connected


class _Connection(http.client.HTTPConnection):
    def __init__(self, *args: Any, check: Check, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = partial(_connect, check)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, check: Check, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._create_connection = partial(_connect, check)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, public: MustBePublic) -> None:
        super().__init__()
        self._public = public

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Connection, request, check=_check_for(request, self._public))  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, public: MustBePublic) -> None:
        super().__init__()
        self._public = public

    def https_open(self, request: urllib.request.Request) -> Any:
        check = _check_for(request, self._public)
        return self.do_open(_SecureConnection, request, check=check)  # type: ignore[arg-type]


def _check_for(request: urllib.request.Request, public: MustBePublic) -> Check:
    """Check the name that a request is for, and give what has to be asked of the address that is connected to.

    A proxy, which the deployer has chosen and which may be on a private network, makes the connection itself; of what
    is behind it the name alone can be checked.
    """
    check = check_public if public(request.full_url) else check_address
    named = urllib.parse.urlsplit(request.full_url).hostname
    try:
        found = socket.getaddrinfo(named, None)
    except (OSError, UnicodeError):
        found = []  # a proxy may know it
    for *_, address in found:
        check(str(address[0]))
    proxied = request.has_proxy() or getattr(request, "_tunnel_host", None)
    return check_address if proxied else check


class _NoOtherScheme(urllib.request.BaseHandler):
    def file_open(self, request: urllib.request.Request) -> Any:
        raise RefusedAddressError(f"only http and https are read, not {request.type}")

    ftp_open = data_open = unknown_open = file_open


@lru_cache(maxsize=8)
def _opener(public: MustBePublic) -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(public),
        _Https(public),
        _NoOtherScheme(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
