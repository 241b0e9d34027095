"""A broker of its own for a check: a free loopback port, a temporary data directory, the built binary."""

import random
import re
import socket
import subprocess
import tempfile
import threading
from pathlib import Path


# Below those that the system gives to whoever connects: a port of these nobody takes while a broker that was killed is away.
PORTS = range(20_000, 30_000)


def lasting_port():
    """A port that is free now, and stays so between a crash and the next start unless somebody asks for it by name."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Broker:
    """Use as a context manager. `bootstrap` is where it serves, `data_dir` what it keeps."""

    def __init__(self, binary, name, *settings):
        self.binary, self.name, self.settings = binary, name, settings
        self.crashed = False

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix=f"logmill-{self.name}-")
        self.data_dir = Path(self.directory.name) / "data"
        self.start()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.directory.cleanup()

    def start(self, address=None):
        address = address or f"127.0.0.1:{lasting_port()}"
        command = [self.binary, "serve", "--data-dir", self.data_dir, "--listen", address]
        command += [word for setting in self.settings for word in ("--set", setting)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.said, serving = [], threading.Event()

        def listen():
            for line in self.process.stderr:
                self.said.append(line)
                if " serving address=" in line and self.crashed:
                    # Before this it tells what the crash has cut off.
                    self.said.clear()
                if found := re.search(r" serving address=(\S+)", line):
                    self.bootstrap = found[1]
                    serving.set()
            serving.set()

        self.listener = threading.Thread(target=listen, daemon=True)
        self.listener.start()
        if not serving.wait(20) or self.process.poll() is not None:
            raise RuntimeError(f"the broker did not start:\n{''.join(self.said)}")

    def crash(self):
        """kill -9. Fails when the broker had said anything of an error."""
        self.process.kill()
        self.process.wait()
        self.crashed = True
        self.listener.join(5)
        self.fail_for(r" ERROR |panicked")

    def start_again(self):
        """After a crash: where it served, with what it kept."""
        self.start(self.bootstrap)

    def stop(self, but=None):
        """A clean stop. Fails unless the broker ends well, and when it said anything of a warning or an error, but for `but`."""
        self.process.terminate()
        status = self.process.wait(30)
        self.listener.join(5)
        if status != 0:
            raise RuntimeError(f"the broker ended with status {status}:\n{''.join(self.said)}")
        self.fail_for(r" (WARN|ERROR) |panicked", but)

    def fail_for(self, pattern, but=None):
        complaints = [line for line in self.said if re.search(pattern, line)]
        if complaints := [line for line in complaints if but is None or not re.search(but, line)]:
            raise RuntimeError(f"the broker complained:\n{''.join(complaints)}")
