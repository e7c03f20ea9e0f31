"""Runs the system for a check: `cargo dev` on free ports with a new data folder, stopped at the end."""

import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def running():
    """Yields the address of the API and the admin's credentials."""
    with tempfile.TemporaryDirectory() as data:
        api, dashboard = free_port(), free_port()
        command = ["cargo", "run", "--quiet", "--example", "cloud", "--", "--data", data]
        system = subprocess.Popen(
            [*command, "--port", str(api), "--dashboard-port", str(dashboard)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=open(pathlib.Path(data) / "log", "w"),
            text=True,
        )
        try:
            yield f"http://127.0.0.1:{api}", admin_of(system, data)
        finally:
            system.send_signal(signal.SIGINT)
            system.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def admin_of(system: subprocess.Popen, data: str) -> dict:
    """Waits until the system is up, and returns the admin's credentials that it prints."""
    for line in system.stdout:
        if line.strip().startswith("Admin"):
            admin = {"email": line.split()[1], "password": next(system.stdout).strip()}
            # The functions write their log here. If nobody read it, they would block.
            threading.Thread(target=system.stdout.read, daemon=True).start()
            return admin
    sys.exit("cargo dev did not come up:\n" + (pathlib.Path(data) / "log").read_text()[-4000:])


def ask(method: str, url: str, body: dict | None = None, token: str = "") -> dict:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, body and json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
