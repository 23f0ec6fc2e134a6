"""The address and the scheme of a client: headers count only from named proxies."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from django.test import Client, RequestFactory

from taskflow.front.clients import find_address
from taskflow.front.environ import build_environ
from taskflow.front.exchange import Exchange
from taskflow.front.waiting import WaitingRequests
from taskflow.http.addresses import find_client, find_scheme, find_site
from taskflow.http.request import Request
from taskflow.tests.front_doubles import FakeRequest

pytestmark = pytest.mark.one_database

PROXIES = tuple(map(ip_network, ["127.0.0.1", "::1", "10.0.0.0/8"]))


@pytest.mark.sampled(12)
@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("127.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:127.0.0.1", "203.0.113.7", "203.0.113.7"),
        # What the client has sent stands on the left.
        ("127.0.0.1", "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", "127.0.0.1, 203.0.113.7", "203.0.113.7"),
        # Named proxies are skipped, from the right.
        ("127.0.0.1", "6.6.6.6, 203.0.113.7, 10.1.2.3, 10.9.9.9", "203.0.113.7"),
        ("127.0.0.1", "10.1.2.3,10.9.9.9", "10.1.2.3"),
        # Other forms of an address.
        ("127.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
        # No address: the last one that is known counts.
        ("127.0.0.1", "6.6.6.6, secret", "127.0.0.1"),
        ("127.0.0.1", "6.6.6.6, unknown, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", ",", "127.0.0.1"),
        # Not a named proxy: anybody can send the header.
        ("203.0.113.9", "6.6.6.6", "203.0.113.9"),
        ("11.0.0.1", "6.6.6.6", "11.0.0.1"),
    ],
)
def test_client_is_read_from_the_right_and_only_from_named_proxies(
    settings, remote, forwarded, client
):
    settings.TRUST_PROXY = PROXIES

    environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": forwarded}

    assert find_client(environ) == client


def test_client_is_that_of_the_connection_without_named_proxies():
    environ = {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "6.6.6.6"}

    assert find_client(environ) == "127.0.0.1"
    assert find_client({}) == ""


@pytest.mark.parametrize(
    ("remote", "sent", "scheme"),
    [
        ("127.0.0.1", "https", "https"),
        ("127.0.0.1", "http", "http"),
        ("127.0.0.1", "http, HTTPS", "https"),  # the proxy has added the last one
        ("127.0.0.1", "https,http", "http"),
        ("127.0.0.1", "gopher", "http"),
        ("203.0.113.9", "https", "http"),
    ],
)
def test_scheme_is_read_only_from_named_proxies(settings, remote, sent, scheme):
    settings.TRUST_PROXY = PROXIES

    environ = {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_PROTO": sent}

    assert find_scheme(environ | {"wsgi.url_scheme": "http"}) == scheme
    request = Request(RequestFactory().generic("GET", "/", **environ).environ)
    assert request.is_secure() is (scheme == "https")


def test_redirect_to_https_follows_the_scheme_of_a_named_proxy_only(db, settings):
    settings.SECURE_SSL_REDIRECT, settings.TRUST_PROXY = True, PROXIES
    https = {"X-Forwarded-Proto": "https"}

    assert Client().get("/api/v1/nothing", headers=https).status_code == 404
    redirected = Client(REMOTE_ADDR="203.0.113.9").get("/api/v1/nothing", headers=https)

    assert (redirected.status_code, redirected["Location"][:8]) == (301, "https://")


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_site_of_an_ipv6_address_is_its_network(address, site):
    assert find_site(address) == site


def test_sign_ins_of_one_address_with_many_headers_do_not_delay_another_address():
    waiting = WaitingRequests(find_address)
    for n in range(20):
        waiting.append(wait("10.0.0.7:5555", authorization=f"Bearer {n}"))
    other = wait("10.0.0.8:5555")
    waiting.append(other)

    order = [waiting.take(lambda exchange: True) for _ in range(21)]

    assert order.index(other) == 1


def wait(client, **headers):
    request = FakeRequest("GET", "/sign-in", **headers)
    request.client = client
    exchange = Exchange(request, build_environ(request))
    exchange.writer = None
    return exchange
