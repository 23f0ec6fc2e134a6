"""The request to a host that a tenant has chosen reaches no private network."""

from __future__ import annotations

import http.server
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from conftest import PROOF
from taskflow.audit.webhooks import client
from taskflow.audit.webhooks.addresses import REFUSED_IPV4, REFUSED_IPV6, is_public
from taskflow.audit.webhooks.client import post
from taskflow.audit.webhooks.targets import BadTarget, parse_target
from tasks.tests.receivers import receiving

pytestmark = pytest.mark.one_database

LOCAL = (ip_network("127.0.0.1"), ip_network("::1"))
PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200"),
    *("127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "172.16.0.1"),
    *("172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
    *("198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
    *("255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:20::1"),
    *("2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1"),
    *("fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1"),
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"]
BAD_HOSTS = [
    *("2130706433", "0x7f000001", "0x7f.1", "017700000001", "127.1", "127.0.1", "0177.0.0.1"),
    *("①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "localhost。", "ⓛocalhost"),
    *("127.0.0.1.", "127.0.0.01", "127.0.0.256", "1.2.3", "0", "[::1%25lo]", "[::ffff:7f00:1]"),
    *("[0:0:0:0:0:ffff:7f00:1]", "[127.0.0.1]", "[fe80::1]", "::1", "[::]", "[::1", "::1]"),
    *("user@example.com", "user:secret@example.com", "example.com@127.0.0.1", "127.0.0.1#@a.com"),
    *("127.0.0.1\\@example.com", "example.com\\", "exa mple.com", "example.com\t", "\nexample.com"),
    *("example.com%2f", "%6cocalhost", "-a.com", "a-.com", "a..com", ".com", "", "*", "a_b.com"),
    *("1e100.5", "host.0x7f", "a.127", "{169.254.169.254}", "169.254.169.254", "10.0.0.1"),
    "x" * 64 + ".com",
]
BAD_URLS = [
    *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "//a.com"),
    *(
        "https:/example.com",
        "https:///a",
        "https://a.com:0/",
        "https://a.com:65536/",
        "example.com",
    ),
    *("https://a.com:/", "https://a.com:8a/", "https://a.com/#f", "https://a.com/ b", "HTTPS"),
    *("https://a.com/\r\nHost: b", "https://a.com/é", "https://a.com/%zz", "https://a.com/\\b"),
    *("javascript:alert(1)", "https://a.com/" + "x" * 2000, " https://a.com", "https://a.com "),
]


@pytest.mark.parametrize("text", PRIVATE)
def test_private_address_is_not_public(text):
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_address_is_public(text):
    assert is_public(ip_address(text))


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_other_form_of_a_host_is_refused(host):
    with pytest.raises(BadTarget):
        parse_target(f"https://{host}/hook")


@pytest.mark.parametrize("url", BAD_URLS)
def test_url_of_another_form_is_refused(url):
    with pytest.raises(BadTarget):
        parse_target(url)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://example.com", "example.com", "/"),
        ("https://EXAMPLE.com:8443/a/b?c=%20d&e=[1]", None, None),
        ("https://Example.com:8443/a/b?c=%20d&e=1", "example.com:8443", "/a/b?c=%20d&e=1"),
        ("https://[2606:4700::1111]:443/x", "[2606:4700::1111]", "/x"),
        ("https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", "/"),
        ("https://1.1.1.1/?", "1.1.1.1", "/?"),
    ],
)
def test_url_is_read_in_parts(url, authority, path):
    if authority is None:
        with pytest.raises(BadTarget):
            parse_target(url)
        return

    target = parse_target(url)

    assert (target.authority, target.path) == (authority, path)


@pytest.mark.parametrize("text", PRIVATE)
def test_name_with_a_private_address_is_not_connected_to(text, monkeypatch):
    connected = []
    monkeypatch.setattr(
        client.socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (a, 0)) for a in answers]
    )
    monkeypatch.setattr(client, "_connect", lambda *args: connected.append(args))
    answers = ["1.1.1.1", text]  # one bad address is enough

    answer = post("https://rebinding.example/", b"", {})

    assert answer.status is None
    assert "private network" in answer.error
    assert not connected


def test_resolver_is_asked_once_and_the_judged_address_is_used(monkeypatch):
    asked = []

    def look_up(host, *_, **__):
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
        return [(0, 0, 0, "", (address, 0))]

    monkeypatch.setattr(client.socket, "getaddrinfo", look_up)
    with receiving() as receiver:
        port = receiver.url.split(":")[2].strip("/")
        answer = post(f"http://hooks.example:{port}/x", b"{}", {}, LOCAL)

    assert (answer.status, answer.text) == (200, "ok")
    assert asked == ["hooks.example"]
    (received,) = receiver.received
    assert received.headers["host"] == f"hooks.example:{port}"


def test_http_is_sent_only_to_listed_networks():
    with receiving() as receiver:
        assert post(receiver.url, b"", {}, ()).error == "The URL must begin with https://."
        answer = post(receiver.url, b"", {}, (ip_network("10.9.0.0/16"),))

    assert answer.status is None
    assert not receiver.received


def test_redirect_is_not_followed():
    with receiving() as receiver:
        receiver.behaviour = "redirect"
        answer = post(receiver.url, b"", {}, LOCAL)

    assert (answer.status, answer.is_success) == (302, False)
    assert len(receiver.received) == 1


def test_proxy_of_the_environment_is_not_used(monkeypatch):
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        answer = post(receiver.url, b"", {}, LOCAL)

    assert answer.is_success
    assert not proxy.received


@contextmanager
def raw_server(speak):
    """Yield the URL of a server that passes each connection, with its request read, to `speak`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            speak(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    listener.close()
    thread.join(5)


def drip(connection):
    """Send a byte at a time, so that no single wait is long."""
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000:
        try:
            connection.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(0.05)


def flood(connection):
    data = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000
    try:
        connection.sendall(data)
    except OSError:
        return


def test_slow_response_ends_at_the_deadline(monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.4)
    with raw_server(drip) as url:
        started = time.monotonic()
        answer = post(url, b"", {}, LOCAL)
        seconds = time.monotonic() - started

    assert answer.status is None
    assert "no response within" in answer.error
    assert seconds < 3


def test_resolver_that_hangs_ends_at_the_deadline(monkeypatch):
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.2)
    release = threading.Event()
    monkeypatch.setattr(client.socket, "getaddrinfo", lambda *_, **__: release.wait(5) and [])

    answer = post("https://slow.example/", b"", {})

    release.set()
    assert "no response within" in answer.error


def test_large_response_is_read_in_part():
    with raw_server(flood) as url:
        answer = post(url, b"", {}, LOCAL)

    assert (answer.status, answer.text) == (200, "x" * 1024)


@pytest.mark.parametrize(
    "data",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100, b"HTTP/1.1 200 OK"],
)
def test_response_that_is_no_http_is_an_error(data):
    with raw_server(lambda connection: connection.sendall(data)) as url:
        answer = post(url, b"", {}, LOCAL)

    assert answer.is_success is (data == b"HTTP/1.1 200 OK")
    assert answer.error or answer.is_success


def test_body_with_nul_and_other_bytes_can_be_stored():
    with receiving() as receiver:
        receiver.body = b"\x00\xff\xfe ok"
        answer = post(receiver.url, b"", {}, LOCAL)

    assert "\0" not in answer.text
    assert answer.text.encode()


def test_nobody_listens_is_an_error():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()

    answer = post(f"http://127.0.0.1:{port}/", b"", {}, LOCAL)

    assert answer.error == "The request failed: Connection refused."


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a certificate for hooks.example, and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=hooks.example",
    ]
    command += ["-addext", "subjectAltName=DNS:hooks.example"]
    subprocess.run(
        [*command, "-out", str(files[0]), "-keyout", str(files[1])],
        check=True,
        capture_output=True,
    )
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "is_trusted"), [("hooks.example", True), ("other.example", False)]
)
def test_certificate_is_checked_for_the_name_of_the_host(
    name, is_trusted, certificate, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setattr(
        client.socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("127.0.0.1", 0))]
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        answer = post(f"https://{name}:{server.server_port}/", b"", {}, LOCAL)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

    assert answer.is_success is is_trusted
    assert answer.error.startswith("TLS failed") is not is_trusted


# ---- any spelling of any private address --------------------------------------------------------

NETWORKS = [*REFUSED_IPV4, ip_network("::/3"), ip_network("8000::/1"), *REFUSED_IPV6]
FULL_WIDTH = {ord(digit): 0xFF10 + int(digit) for digit in "0123456789"}
CIRCLED = {ord("0"): "⓪"} | {ord(str(n)): chr(0x2460 + n - 1) for n in range(1, 10)}


@st.composite
def addresses(draw):
    network = draw(st.sampled_from(NETWORKS))
    return network[draw(st.integers(0, network.num_addresses - 1))]


def spell(address):
    """Yield texts that resolvers may read as the address."""
    number = int(address)
    if address.version == 4:
        parts = str(address).split(".")
        yield from (str(address), str(number), hex(number), f"0{number:o}", f"{address}.")
        yield ".".join(hex(int(part)) for part in parts)
        yield ".".join(f"0{int(part):o}" for part in parts)
        yield f"{parts[0]}.{number & 0xFFFFFF}"
        yield from (str(address).translate(table) for table in (FULL_WIDTH, CIRCLED))
        yield "。".join(parts)
        mapped = IPv6Address((0xFFFF << 32) + number)
        nat64 = IPv6Address(int(IPv6Address("64:ff9b::")) + number)
        six_to_four = IPv6Address((0x2002 << 112) + (number << 80))
        yield from (f"[{other}]" for other in (mapped, nat64, six_to_four))
        yield f"[::ffff:{address}]"
    else:
        yield from (f"[{address}]", f"[{address.exploded}]", f"[{address.exploded.upper()}]")
        yield from (f"[{address}%25eth0]", f"[{address}%eth0]", str(address))


@pytest.mark.slow
@hypothesis_settings(max_examples=1000 if PROOF else 200, deadline=None, derandomize=not PROOF)
@given(addresses())
def test_no_spelling_of_a_private_address_is_accepted(address):
    assert not is_public(address)
    for text in spell(address):
        with pytest.raises(BadTarget):
            parse_target(f"https://{text}/hook")


@pytest.mark.slow
@hypothesis_settings(max_examples=1000 if PROOF else 200, deadline=None, derandomize=not PROOF)
@given(addresses(), st.booleans())
def test_answer_of_dns_with_a_private_address_is_refused(address, is_secure):
    good = ip_address("1.1.1.1")
    for answers in ([address], [good, address], [address, good]):
        with pytest.raises(client.SendError):
            client.check_addresses(answers, (), is_secure=is_secure)
