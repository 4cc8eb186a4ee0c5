"""Hosts for tests: network namespaces on a switch of their own, with a Ray node in each."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from servers import QUIET, wait_until

#: Nodes that are gone are noticed in seconds instead of a minute.
QUICK = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}


class Hosts:
    """Hosts 1 … n at 10.77.0.<n>; nothing outside can be reached from them."""

    def __init__(self, count, folder):
        self.folder, self.name = folder, f"sprite{os.getpid()}"
        self.token = folder / "token"
        self.token.touch(0o600)
        self.token.write_text("0" * 64)
        try:
            self._ip("netns", "add", f"{self.name}sw")
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("this machine lets us make no network namespaces")
        self.hosts = []
        self._switch("link", "add", "br0", "type", "bridge")
        self._switch("link", "set", "br0", "up")
        for host in range(1, count + 1):
            name = self._host(host)
            self._ip("netns", "add", name)
            self.hosts.append(host)
            self._switch("link", "add", f"p{host}", "type", "veth", "peer", "name", "eth0", "netns", name)
            self._switch("link", "set", f"p{host}", "master", "br0", "up")
            self._ip("-n", name, "addr", "add", f"10.77.0.{host}/24", "dev", "eth0")
            self._ip("-n", name, "link", "set", "lo", "up")
            self._ip("-n", name, "link", "set", "eth0", "up")

    def _ip(self, *arguments):
        subprocess.run(["ip", *arguments], check=True, **QUIET)

    def _switch(self, *arguments):
        self._ip("-n", f"{self.name}sw", *arguments)

    def _host(self, host):
        return f"{self.name}h{host}"

    def inside(self, host):
        """What to put before a command that is to run there."""
        return ["ip", "netns", "exec", self._host(host)]

    def cut(self, host):
        """Takes the cable out."""
        self._switch("link", "set", f"p{host}", "down")

    def heal(self, host):
        self._switch("link", "set", f"p{host}", "up")

    def kill(self, host):
        """Kills every process there."""
        pids = subprocess.run(["ip", "netns", "pids", self._host(host)], capture_output=True, text=True).stdout
        for pid in pids.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def environment(self, **more):
        """Of every Ray node and driver; of this process only what programs need."""
        kept = {n: v for n, v in os.environ.items() if n in ("PATH", "HOME", "LANG", "PYTHONPATH")}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.token)}
        return {**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **QUICK, **token, **more}

    def ray(self, host, *options, **environment):
        """Starts a Ray node with one CPU."""
        where = [f"--node-ip-address=10.77.0.{host}", "--num-cpus=1", "--object-store-memory=80000000"]
        # sockets have short names
        temporary = Path(f"/tmp/{self.name}")
        head = ["--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={temporary}"]
        role = head if host == 1 else ["--address=10.77.0.1:6379"]
        command = [*self.inside(host), str(Path(sys.executable).parent / "ray"), "start", "--disable-usage-stats"]
        told = self.folder / f"ray{host}.log"
        with open(told, "a") as log:
            done = subprocess.run(
                [*command, *role, *where, *options], env=self.environment(**environment), stdout=log, stderr=log
            )
        assert done.returncode == 0, told.read_text()[-2000:]

    def processes(self, host, words):
        """Ids of the processes there whose command line has these words."""
        pids = subprocess.run(["ip", "netns", "pids", self._host(host)], capture_output=True, text=True).stdout
        found = []
        for pid in pids.split():
            with contextlib.suppress(OSError):
                if words in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(int(pid))
        return found

    def close(self):
        for host in self.hosts:
            self.heal(host)
            self.kill(host)
            wait_until(lambda host=host: not self.processes(host, ""), "the end of a host", 30)
            self._ip("netns", "del", self._host(host))
        self._ip("netns", "del", f"{self.name}sw")
        subprocess.run(["rm", "-rf", f"/tmp/{self.name}"], check=False)
        time.sleep(0.1)


@contextlib.contextmanager
def hosts(count, folder):
    made = Hosts(count, folder)
    try:
        yield made
    finally:
        made.close()
