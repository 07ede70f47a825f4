"""Addresses of logos: the internet, and nothing that only looks like it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from workers import logo_address
from workers.logo_address import LogoRefused, Target

GOOD = [
    ("https://example.org/logo.png", Target("https", "example.org", 443, "/logo.png")),
    ("HTTPS://Example.ORG./logo.png", Target("https", "example.org", 443, "/logo.png")),
    ("http://example.org", Target("http", "example.org", 80, "/")),
    ("http://example.org:443/x", Target("http", "example.org", 443, "/x")),
    ("https://example.org:/x", Target("https", "example.org", 443, "/x")),
    ("https://example.org/a b".replace(" ", "%20"), Target("https", "example.org", 443, "/a%20b")),
    ("https://example.org/ü?q=ä#f", Target("https", "example.org", 443, "/%C3%BC?q=%C3%A4")),
    ("https://bücher.example/x", Target("https", "xn--bcher-kva.example", 443, "/x")),
    ("https://93.184.216.34/x", Target("https", "93.184.216.34", 443, "/x")),
    ("https://[2606:4700::1111]/x", Target("https", "2606:4700::1111", 443, "/x")),
    ("https://my_bucket.example/x", Target("https", "my_bucket.example", 443, "/x")),
]


@pytest.mark.parametrize(("url", "target"), GOOD)
def test_an_address_is_taken_apart_once(url: str, target: Target) -> None:
    assert logo_address.target(url) == target


#: None of them may be taken for an address at all.
NONE = [
    "",
    "logo.png",
    "//example.org/x",
    "/logo.png",
    "https:example.org",
    "https:///x",
    "https://",
    "http://?x",
    "http://#x",
    # Other schemes.
    "ftp://example.org/x",
    "file:///etc/passwd",
    "gopher://example.org:80/_x",
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "jar:http://example.org!/x",
    "view-source:http://example.org",
    "unix:///run/docker.sock",
    "dict://example.org:11211/",
    # Users and passwords, also as a disguise of the host.
    "https://user:secret@example.org/x",
    "https://user@example.org/x",
    "https://@example.org/x",
    "https://example.org:80@127.0.0.1/x",
    "https://example.org%40127.0.0.1/x",
    "https://example.org&@127.0.0.1/x",
    # Two programs that split differently.
    "https://example.org\\@127.0.0.1/x",
    "https://127.0.0.1\\.example.org/x",
    "https:\\\\127.0.0.1/x",
    "https://example.org /x",
    " https://example.org/x",
    "https://example.org\t/x",
    "https://exam\nple.org/x",
    "https://example.org/x\r\nHost: evil",
    "https://example.org/\0",
    "https://example.org/\x85",
    "https://example.org/\u2028x",
    "https://\ufeffexample.org/",
    "https://example.org\u00a0/",
    # Ports.
    "https://example.org:22/x",
    "http://example.org:6379/x",
    "http://example.org:25/",
    "https://example.org:0/x",
    "https://example.org:65536/x",
    "https://example.org:99999999999999999999/x",
    "https://example.org:-80/x",
    "https://example.org:+80/x",
    "https://example.org:0443/x",
    "https://example.org: 443/x",
    "https://example.org:٤٤٣/x",
    "https://example.org:443:80/x",
    "https://example.org:80x/",
    # Hosts that are numbers in disguise: decimal, octal, hex, short, with other digits or dots.
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://127.0.0.01/",
    "http://127.0.0.1.1/",
    "http://256.0.0.1/",
    "http://127.0.0.0x1/",
    "http://1.2.3.4.0x/",
    "http://example.1/",
    "http://４２９４９６７２９５/",
    # Brackets.
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http://::1/",
    "http://[::1]x/",
    "http://[::1]@example.org/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[v1.fe]/",
    "http://[]/",
    "http://[example.org]/",
    # No hosts.
    "http://./",
    "http://../",
    "http://example..org/",
    "http://.example.org/",
    "http://-x.example/",
    "http://exa mple.org/",
    "http://exa$mple.org/",
    "http://example.org%00.evil/",
    "http://exam%70le.org/",
    "http://*/",
    "http://xn--\u0080/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 130 + "example/",
    "https://example.org/" + "x" * 2_000,
]


@pytest.mark.parametrize("url", NONE)
def test_an_address_that_programs_read_differently_is_none(url: str) -> None:
    with pytest.raises(LogoRefused):
        logo_address.target(url)


#: Written oddly, they are one address, and that one is judged.
SAME = [
    ("http://１２７.0.0.1/", "127.0.0.1"),
    ("http://①②⑦.⓪.⓪.①/", "127.0.0.1"),
    ("http://127。0。0。1/", "127.0.0.1"),
    ("http://127.0.0.1./", "127.0.0.1"),
    ("http://[::FFFF:7f00:1]/", "::ffff:7f00:1"),
    ("http://[0:0:0:0:0:0:0:1]/", "::1"),
    ("http://[::ffff:127.0.0.1]/", "::ffff:7f00:1"),
    ("http://LOCALHOST/", "localhost"),
    ("https://127.0.0.1#@example.org/", "127.0.0.1"),
    ("https://127.0.0.1?@example.org/", "127.0.0.1"),
    ("https://127.0.0.1/@example.org/", "127.0.0.1"),
    ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "localhost"),
]


@pytest.mark.parametrize(("url", "host"), SAME)
def test_other_spellings_of_a_host_become_the_one_that_is_judged(url: str, host: str) -> None:
    found = logo_address.target(url).host
    assert found in (host, str(ip_address(host)) if ":" in host else host)


INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:c0a8:101::1",
    "2002:a9fe:a9fe::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::5efe:8.8.8.8",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:127.0.0.1",
]
OUTSIDE = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    # Where a network has only IPv6, its resolver makes such of every address.
    "64:ff9b::8.8.8.8",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize("text", INSIDE)
def test_what_is_inside_is_not_gone_to_unless_its_host_is_trusted(text: str) -> None:
    with pytest.raises(LogoRefused, match="is inside this network, and BROADSHEET_LOGO_HOSTS"):
        logo_address.check("x.example", [text])
    assert logo_address.check("x.example", [text], trusted=True) == [ip_address(text)]


@pytest.mark.parametrize("text", OUTSIDE)
def test_what_is_outside_is_gone_to(text: str) -> None:
    assert logo_address.check("x.example", [text]) == [ip_address(text)]


def test_a_name_with_an_address_of_each_kind_is_inside() -> None:
    for found in (["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["8.8.8.8", "::1"]):
        with pytest.raises(LogoRefused):
            logo_address.check("x.example", found)


@pytest.mark.parametrize("found", [[], ["x"], ["127.1"], [""], ["fe80::1%eth0"]])
def test_a_name_with_no_address_or_an_odd_one_leads_nowhere(found: list[str]) -> None:
    with pytest.raises(LogoRefused):
        logo_address.check("x.example", found)


def test_a_host_of_the_settings_may_be_inside_and_at_any_port() -> None:
    trusted = ("Assets.internal.", "10.0.0.7", "fd00::7")
    for url, port in (
        ("http://assets.INTERNAL:8080/x", 8080),
        ("http://10.0.0.7:9000/x", 9000),
        ("http://[fd00:0::7]/x", 80),
    ):
        found = logo_address.target(url, trusted=trusted)
        assert (found.trusted, found.port) == (True, port)
    for url in (
        "http://assets.internal.evil.example/x",
        "http://evil-assets.internal/x",
        "http://10.0.0.70/x",
    ):
        assert not logo_address.target(url, trusted=trusted).trusted


START = Target("https", "example.org", 443, "/a/logo.png?key=1")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b.png", Target("https", "example.org", 443, "/b.png")),
        ("b.png", Target("https", "example.org", 443, "/a/b.png")),
        ("//cdn.example/b.png", Target("https", "cdn.example", 443, "/b.png")),
        ("https://cdn.example/b.png", Target("https", "cdn.example", 443, "/b.png")),
        ("https://127.0.0.1/x", Target("https", "127.0.0.1", 443, "/x")),
    ],
)
def test_a_redirect_leads_to_an_address_that_is_judged_anew(location: str, target: Target) -> None:
    assert logo_address.redirected(START, location) == target


@pytest.mark.parametrize(
    "location",
    [
        "http://example.org/b.png",
        "ftp://example.org/b.png",
        "file:///etc/passwd",
        "https://example.org:22/b.png",
        "https://user:secret@example.org/",
        "https://2130706433/",
        "//example.org\\@127.0.0.1/",
        "/x\r\ny",
        "https://[x/",
        "x" * 3_000,
    ],
)
def test_a_redirect_that_leads_to_no_good_is_not_followed(location: str) -> None:
    with pytest.raises(LogoRefused):
        logo_address.redirected(START, location)


def test_what_may_be_logged_has_no_path_and_no_query() -> None:
    assert START.origin == "https://example.org"
    assert Target("http", "::1", 8080, "/x?key=1").origin == "http://[::1]:8080"


@pytest.mark.parametrize("url", NONE)
def test_no_refusal_repeats_the_address(url: str) -> None:
    with pytest.raises(LogoRefused) as caught:
        logo_address.target(url)
    for secret in ("secret", "passwd", "evil"):
        assert secret not in caught.value.message
