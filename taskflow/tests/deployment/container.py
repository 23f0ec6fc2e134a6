"""The steps of the Containerfile, run in an empty Debian tree instead of an image of a registry."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from taskflow.tests.server import ROOT, free_port, is_running, list_workers, stop

CONTAINERFILE = ROOT / "docs/deploy/Containerfile"
SUITE = "bookworm"  # of the image that the Containerfile names
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The tree gets a /proc of its own, which ends with the command.
ENTER = "mount -t proc proc {tree}/proc && exec chroot {user} {tree} /bin/sh -c {script}"


@dataclass
class Container:
    """A tree of files, and what the instructions so far have set."""

    tree: Path
    folder: str = "/"
    user: str = "root"
    variables: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)  # CMD and HEALTHCHECK

    def follow(self, instruction: str) -> None:
        """Carry out one line of the Containerfile. Raises KeyError for an unknown instruction."""
        name, _, text = instruction.partition(" ")
        steps = {
            "FROM": self.check_base,
            "RUN": self.run,
            "WORKDIR": self.enter,
            "COPY": self.copy,
            "ENV": self.set_variable,
            "USER": lambda text: setattr(self, "user", text),
            "VOLUME": lambda text: None,
            "EXPOSE": lambda text: None,
            "CMD": lambda text: self.commands.update(CMD=text),
            "HEALTHCHECK": lambda text: self.commands.update(HEALTHCHECK=text.partition("CMD ")[2]),
        }
        steps[name](text)

    def check_base(self, text: str) -> None:
        assert f"debian:{SUITE}" in text

    def enter(self, text: str) -> None:
        self.folder = text
        (self.tree / text.strip("/")).mkdir(parents=True, exist_ok=True)

    def set_variable(self, text: str) -> None:
        name, _, value = text.partition("=")
        self.variables[name] = value

    def copy(self, text: str) -> None:
        *sources, target = text.split()
        folder = self.tree / self.folder.strip("/")
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target)
            else:
                shutil.copy(ROOT / source, folder / target)

    def run(self, text: str) -> None:
        ended = subprocess.run(self.command(text), capture_output=True, text=True)
        assert ended.returncode == 0, f"RUN {text}\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"

    def command(self, text: str) -> list[str]:
        """Return the command that runs the text of RUN, CMD or HEALTHCHECK in the tree."""
        command = shlex.join(json.loads(text)) if text.startswith("[") else text
        variables = {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"} | self.variables
        assigned = shlex.join(["env", "-i", *(f"{n}={value}" for n, value in variables.items())])
        script = f"cd {self.folder} && exec {assigned} /bin/sh -c {shlex.quote('exec ' * text.startswith('[') + command)}"
        enter = ENTER.format(
            tree=self.tree, user=f"--userspec={self.user}", script=shlex.quote(script)
        )
        return ["unshare", "--mount", "--", "/bin/sh", "-c", enter]


def check(directory: Path) -> str:
    """Run all steps as root, and serve as the user that the file names."""
    if not shutil.which("mmdebstrap") or os.geteuid() != 0:
        return "not run: it needs mmdebstrap and root"
    tree = directory / "tree"
    sources = "/etc/apt/sources.list.d/debian.sources"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", SUITE, str(tree)]
        + [sources] * Path(sources).exists(),
        check=True,
    )  # fmt: skip
    container = Container(tree)
    if AUTHORITIES.exists():  # those of the machine, for its package index
        shutil.copy(AUTHORITIES, tree / "authorities.crt")
        container.variables["PIP_CERT"] = "/authorities.crt"
    for line in CONTAINERFILE.read_text().splitlines():
        if line and not line.startswith("#"):
            container.follow(line)
    serve(container)
    return "all steps ran in an empty Debian tree, and the server answered as an ordinary user"


def serve(container: Container) -> None:
    """Run CMD and HEALTHCHECK on another port than 8000."""
    port = str(free_port())
    command = container.commands["CMD"].replace('"serve"', f'"serve", "--port", "{port}"')
    process = subprocess.Popen(
        container.command(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        printed = ""
        while "TaskFlow is on" not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        container.run(container.commands["HEALTHCHECK"].replace("8000", port))
        workers = list_workers(process.pid)
        status = Path(f"/proc/{workers[0]}/status").read_text()
        assert "Uid:\t10001\t10001" in status, status
    finally:
        stop(process)
    assert not any(map(is_running, workers))
