"""The configurations of nginx and Caddy: their syntax, and traffic through both."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path

from taskflow.tests.server import ROOT, clean_environment, free_port, reload, serve, stop

DEPLOY = ROOT / "docs/deploy"
HOST = "localhost"  # of the demo's tenant
LOGIN = {"email": "ada@acme.example", "password": "taskflow-demo-2026"}
# The server closes an idle connection after 10 seconds. The proxies have to do so before.
IDLE_SECONDS = (7.5, 8.5, 9.5, 9.9, 10.0, 10.1, 10.5)
FILE_BYTES = 3 * 1_048_576
ROWS = 52  # of that file, each with a description of about 60,000 characters
CLIENTS = 6
StartProxy = Callable[[Path, int], tuple[int, subprocess.Popen[bytes]]]
UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the certificates are made for this test
UNVERIFIED.check_hostname, UNVERIFIED.verify_mode = False, ssl.CERT_NONE
CERTIFICATE = (
    f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST}"
    " -keyout key.pem -out fullchain.pem"
)


# ---- the proxies ---------------------------------------------------------------------------------


def start_nginx(directory: Path, backend: int) -> tuple[int, subprocess.Popen[bytes]]:
    """Start nginx with the site of docs/deploy/. Return its port for HTTPS."""
    port, plain = free_port(), free_port()
    subprocess.run(CERTIFICATE.split(), cwd=directory, check=True, capture_output=True)
    site = (DEPLOY / "nginx.conf").read_text()
    site = re.sub(r"\n    listen \[::\].*", "", site)
    site = site.replace("listen 443", f"listen 127.0.0.1:{port}")
    site = site.replace("listen 80", f"listen 127.0.0.1:{plain}")
    site = site.replace("127.0.0.1:8000", f"127.0.0.1:{backend}")
    site = site.replace("tasks.example.org", HOST).replace("/etc/ssl/taskflow", str(directory))
    paths = "".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = directory / "nginx.conf"
    file.write_text(
        f"pid {directory}/pid; error_log {directory}/error.log; worker_processes 1;"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{site} }}"
    )
    command = ["nginx", "-p", str(directory), "-c", str(file)]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr, tested.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    wait_for_port(plain)
    connection = HTTPConnection("127.0.0.1", plain, timeout=10)
    connection.request("GET", "/admin/", headers={"Host": HOST})
    response = connection.getresponse()
    assert (response.status, response.headers["Location"]) == (308, f"https://{HOST}/admin/")
    connection.close()
    return port, process


def start_caddy(directory: Path, backend: int) -> tuple[int, subprocess.Popen[bytes]]:
    """Start Caddy with the file of docs/deploy/, and a certificate of its own authority."""
    port = free_port()
    site = (DEPLOY / "Caddyfile").read_text()
    site = site.replace("\ntasks.example.org {", f"\nhttps://{HOST}:{port} {{\n\ttls internal", 1)
    site = site.replace("127.0.0.1:8000", f"127.0.0.1:{backend}")
    options = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
    file = directory / "Caddyfile"
    file.write_text(options + site)
    environment = {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "PATH": "/usr/bin:/bin"}
    arguments = ["--adapter", "caddyfile", "--config", str(file)]
    for given in (arguments, ["--adapter", "caddyfile", "--config", str(DEPLOY / "Caddyfile")]):
        validated = subprocess.run(
            ["caddy", "validate", *given], env=environment, capture_output=True, text=True
        )
        assert validated.returncode == 0, validated.stderr
    with (directory / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            ["caddy", "run", *arguments], env=environment, stdout=log, stderr=log
        )
    wait_for_port(port)
    return port, process


PROXIES: dict[str, StartProxy] = {"nginx": start_nginx, "caddy": start_caddy}


def wait_for_port(port: int) -> None:
    for _ in range(300):
        try:
            HTTPConnection("127.0.0.1", port, timeout=5).connect()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no server on port {port}")


# ---- traffic -------------------------------------------------------------------------------------


class Client:
    """One connection to a proxy."""

    def __init__(self, port: int, token: str = "") -> None:
        self.connection = HTTPSConnection(HOST, port, timeout=60, context=UNVERIFIED)
        self.headers = {"Accept-Encoding": "gzip"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[HTTPResponse, bytes]:
        """Return the response and its body, which is decompressed."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, self.headers | names)
        response = self.connection.getresponse()
        content = response.read()
        if response.headers["Content-Encoding"] == "gzip":
            content = gzip.decompress(content)
        return response, content


def sign_in(port: int) -> str:
    body = json.dumps(LOGIN).encode()
    response, content = Client(port).send(
        "POST", "/api/v1/auth/login", body, Content_Type="application/json"
    )
    assert response.status == 200, content
    assert response.headers["Strict-Transport-Security"], "X-Forwarded-Proto is not https"
    return str(json.loads(content)["token"])


def check_traffic(port: int, token: str) -> None:
    client = Client(port, token)
    response, content = client.send("GET", "/api/v1/tasks?limit=200")
    assert response.status == 200, content
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(content)["data"]) > 5
    lines = ["title,description", *(f"Row {n},{'x' * 60_500}" for n in range(ROWS))]
    file = "\n".join(lines).encode()
    assert len(file) >= FILE_BYTES
    path = "/api/v1/projects/WEB/tasks.csv?dry_run=true"
    response, content = client.send("POST", path, file, Content_Type="text/csv")
    assert response.status == 200, content[:500]
    response, content = client.send("GET", "/admin/login/", X_Forwarded_Proto="http")
    assert response.status == 200, "the client has decided X-Forwarded-Proto"


def check_addresses(port: int, token: str, log: Path) -> None:
    """The log names the address of the client that the proxy has seen, not one that was sent."""
    number = f"forwarded-{port}"
    Client(port, token).send(
        "GET", "/api/v1/me", X_Forwarded_For="203.0.113.7", X_Request_Id=number
    )
    time.sleep(0.5)
    (line,) = [json.loads(line) for line in log.read_text().splitlines() if number in line]
    assert line["client"] == "127.0.0.1", line


def check_idle_connection(port: int, token: str, seconds: float) -> None:
    client = Client(port, token)
    for _ in range(2):
        response, content = client.send("GET", "/api/v1/me")
        assert response.status == 200, (seconds, content)
        time.sleep(seconds)


@contextmanager
def sending(ports: list[int], token: str) -> Iterator[list[str]]:
    """Let six clients make requests while the block runs. Yield what fails."""
    failures: list[str] = []
    is_ending = threading.Event()

    def send(port: int) -> None:
        client = Client(port, token)
        while not is_ending.wait(0.02):
            try:
                response, content = client.send("GET", "/api/v1/me")
            except (OSError, HTTPException) as error:
                failures.append(repr(error))
                client = Client(port, token)
                continue
            if response.status != 200:
                failures.append(f"{response.status} {content!r}")

    threads = [threading.Thread(target=send, args=[p]) for p in ports * (CLIENTS // len(ports))]
    for thread in threads:
        thread.start()
    yield failures
    is_ending.set()
    for thread in threads:
        thread.join()


# ---- the check -----------------------------------------------------------------------------------


def check(directory: Path, *, restarts: bool) -> str:
    """Send requests through each proxy that is installed. Return what was tried."""
    installed = [name for name in PROXIES if shutil.which(name)]
    if not installed:
        return "neither is installed"
    backend, log = free_port(), directory / "log"
    environment = clean_environment(directory / "data")
    environment |= {"TASKFLOW_HTTPS": "1", "TASKFLOW_TRUST_PROXY": "127.0.0.1"}
    with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
        process = serve(backend, environment, log, "--workers", "2")
        stack.callback(stop, process)
        ports = []
        for name in installed:
            (directory / name).mkdir()
            port, proxy = PROXIES[name](directory / name, backend)
            stack.callback(stop, proxy)
            ports.append(port)
        token = sign_in(ports[0])
        waits = [
            pool.submit(check_idle_connection, port, token, seconds)
            for port in ports
            for seconds in IDLE_SECONDS
        ]
        for port in ports:
            sign_in(port)
            check_traffic(port, token)
            check_addresses(port, token, log)
        for wait in waits:
            wait.result()
        if restarts:
            with sending(ports, token) as failures:
                reload(process, log)
                time.sleep(15)  # until the former workers have ended
            assert failures == [], failures
    tried = f"{' and '.join(installed)}: login, list, gzip, a file of 3 MiB, idle connections"
    missing = "".join(f"; {name} is not installed" for name in PROXIES if name not in installed)
    return tried + (", a restart under load" if restarts else "") + missing
