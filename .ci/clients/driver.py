"""The clients, each behind one language of requests and answers in JSON, a line each.

Operations (see the drivers for their arguments) are the keys of ARGUMENTS; not every client has all. A record is
{partition, key, value, headers: [[name, value]], timestamp}, with `offset` when it was read.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]

DRIVERS = Path(__file__).parent / "drivers"


class ClientError(Exception):
    """What the client library said."""


class Driver:
    """A process with one client library. Attributes that are operations call it."""

    def __init__(self, name, command, environment):
        self.name = name
        # The codecs that the client has, with the packages that were installed.
        self.codecs = ["none", "gzip", "snappy"] if name == "kafkajs" else CODECS
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment
        )

    def __getattr__(self, operation):
        def call(*arguments, **named):
            names = ARGUMENTS[operation]
            request = {"op": operation} | dict(zip(names, arguments)) | named
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            if not answer:
                raise ClientError(f"{self.name} ended in {operation}:\n{self.tail()}")
            answer = json.loads(answer)
            if "error" in answer:
                raise ClientError(f"{self.name}, {operation}: {answer['error']}")
            return answer["ok"]

        if operation not in ARGUMENTS:
            raise AttributeError(operation)
        return call

    def tail(self):
        """The end of what the library wrote to standard error."""
        self.log.seek(0)
        return "".join(self.log.readlines()[-30:])

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


# The leading arguments of each operation, in order.
ARGUMENTS = {
    "create_topic": ["topic", "partitions", "configs"],
    "add_partitions": ["topic", "total"],
    "delete_topic": ["topic"],
    "list_topics": [],
    "describe_topic": ["topic"],
    "topic_configs": ["topic"],
    "alter_topic_configs": ["topic", "changes"],
    "replace_topic_configs": ["topic", "configs"],
    "delete_records": ["topic", "offsets"],
    "produce": ["topic", "records"],
    "transaction": ["transactional_id", "topic", "records", "end"],
    "consume": ["topic"],
    "join": ["member", "group", "topic"],
    "poll": ["member", "seconds"],
    "commit": ["member", "topic", "offsets"],
    "leave": ["member"],
    "committed": ["group", "topic"],
    "list_groups": [],
    "describe_group": ["group"],
    "delete_group": ["group"],
    "alter_offsets": ["group", "topic", "offsets"],
    "delete_offsets": ["group", "topic", "partitions"],
}


def start(name, tools, bootstrap):
    """A driver of the client `name`; `tools` is where the clients were installed."""
    command = {
        "confluent-kafka": [sys.executable, DRIVERS / "confluent.py"],
        "kafka-python": [sys.executable, DRIVERS / "kafkapython.py"],
        "kcat": [sys.executable, DRIVERS / "kcat.py"],
        "kafkajs": ["node", DRIVERS / "kafkajs.mjs"],
        "java": [
            "java",
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            f"{tools}/jars/*",
            DRIVERS / "JavaDriver.java",
        ],
    }[name]
    environment = os.environ | {"NODE_PATH": f"{tools}/node/node_modules"}
    return Driver(name, [*command, bootstrap], environment)
