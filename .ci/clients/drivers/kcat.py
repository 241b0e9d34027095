"""Driver of kcat: a command of its own for each operation.

kcat has no way to give a record's timestamp, a header without a value or the offset to commit; scenarios that need
these ask another client.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from serve import serve

FIELD, RECORD = "\x1f", "\x1e"


class Driver:
    def __init__(self, bootstrap):
        self.command = ["kcat", "-b", bootstrap, "-m", "10"]
        self.members = {}

    # Records

    def produce(self, topic, records, codec="none", acks="all", idempotent=False):
        settings = [f"acks={acks}", f"enable.idempotence={str(idempotent).lower()}"]
        for (partition, headers), run in _runs(records):
            self._kcat(self._send(topic, partition, headers, codec, settings), _lines(run))

    def transaction(self, transactional_id, topic, records, end, codec="none", offsets=None):
        """One transaction. kcat commits it when its input ends, and has no way to abort: one kcat is killed in its
        transaction, and the next one with its transactional id aborts what it finds."""
        if offsets:
            raise NotImplementedError("kcat commits no offsets in a transaction")
        runs = _runs(records)
        if len(runs) != 1:
            raise NotImplementedError("kcat writes one partition with one set of headers in a transaction")
        (partition, headers), run = runs[0]
        command = self._send(topic, partition, headers, codec, [f"transactional.id={transactional_id}"])
        if end == "commit":
            self._kcat(command, _lines(run))
            return
        # kcat hands on what it reads when its buffer is full or its input ends. So each value is a file, and behind
        # them stands a pipe that nobody writes to, where kcat waits while its library sends.
        with tempfile.TemporaryDirectory() as directory:
            files = [Path(directory) / str(at) for at in range(len(run) + 1)]
            for file, record in zip(files, run):
                file.write_text(record["value"])
            os.mkfifo(files[-1])
            process = subprocess.Popen([*command, *files], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(2)
            process.kill()
            process.wait()
        self._kcat(command)

    def _send(self, topic, partition, headers, codec, settings):
        command = [*self.command, "-P", "-t", topic, "-z", codec, "-K", FIELD, "-D", RECORD, "-X", "linger.ms=20", "-Z"]
        command += ["-X", "message.max.bytes=20000000"]
        if partition is not None:
            command += ["-p", str(partition)]
        for name, value in headers:
            command += ["-H", f"{name}={value}"]
        for setting in settings:
            command += ["-X", setting]
        return command

    def consume(self, topic, isolation="read_uncommitted", timeout=30):
        """All records from the beginning to the end that this isolation level sees."""
        settings = ["-X", f"isolation.level={isolation}", "-X", "check.crcs=true"]
        settings += ["-X", "fetch.message.max.bytes=20000000"]
        out = self._kcat([*self.command, "-C", "-t", topic, "-o", "beginning", "-e", "-J", *settings], timeout=timeout)
        return [_record(json.loads(line)) for line in out.splitlines()]

    def _kcat(self, command, text="", timeout=30):
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout)
        if done.returncode != 0 or "ERROR" in done.stderr:
            raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {done.stderr}")
        return done.stdout

    # Groups

    def join(self, member, group, topic, isolation="read_uncommitted", protocol="classic", strategy="range"):
        if protocol != "classic":
            raise NotImplementedError("this kcat has the classic group protocol only")
        settings = [
            "auto.offset.reset=earliest",
            f"isolation.level={isolation}",
            "session.timeout.ms=10000",
            "heartbeat.interval.ms=500",
            f"partition.assignment.strategy={strategy}",
        ]
        command = [*self.command, "-J", "-u", *[word for setting in settings for word in ("-X", setting)]]
        self.members[member] = Member([*command, "-G", group, topic])

    def poll(self, member, seconds=0.5):
        time.sleep(seconds)
        return self.members[member].take()

    def leave(self, member):
        """kcat commits what it printed when it is told to stop."""
        self.members.pop(member).stop()


class Member:
    """A kcat that stays in its group until it is stopped."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lock = threading.Lock()
        self.records, self.assignment = [], []
        for reader in (self._read_records, self._read_rebalances):
            threading.Thread(target=reader, daemon=True).start()

    def _read_records(self):
        for line in self.process.stdout:
            with self.lock:
                self.records.append(_record(json.loads(line)))

    def _read_rebalances(self):
        for line in self.process.stderr:
            sys.stderr.write(line)
            with self.lock:
                if "assigned:" in line:
                    self.assignment = sorted(int(number) for number in re.findall(r"\[(\d+)\]", line))
                elif "revoked:" in line:
                    self.assignment = []

    def take(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"kcat ended with status {self.process.returncode}")
        with self.lock:
            taken = {"records": self.records, "assignment": self.assignment}
            self.records = []
        return taken

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(20) != 0:
            raise RuntimeError(f"kcat ended with status {self.process.returncode}")


def _runs(records):
    """Consecutive records that one kcat can write: [((partition, headers), records)]."""
    runs = []
    for record in records:
        if record.get("timestamp") is not None:
            raise NotImplementedError("kcat gives no timestamps")
        kind = (record.get("partition"), [tuple(header) for header in record.get("headers") or []])
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(record)
    return runs


def _lines(records):
    return "".join(f"{record.get('key') or ''}{FIELD}{record.get('value') or ''}{RECORD}" for record in records)


def _record(read):
    headers = read.get("headers") or []
    return {
        "partition": read["partition"],
        "offset": read["offset"],
        "key": read.get("key"),
        "value": read.get("payload"),
        "headers": [list(pair) for pair in zip(headers[::2], headers[1::2])],
        "timestamp": read["ts"],
    }


serve(Driver(sys.argv[1]))
