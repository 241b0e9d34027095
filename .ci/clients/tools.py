"""Kafka's own command-line tools, from its jars, against the broker: what they show is read."""

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

from apache_kafka import java
from scenarios import fresh, numbered, same


class Tools:
    """Each check is a method named by the tool."""

    def __init__(self, broker, tools, client):
        self.broker, self.tools, self.client = broker, tools, client

    def tool(self, main, *arguments, text=""):
        """What a tool prints. Fails when it ends with another status than 0."""
        command = java(self.tools, f"org.apache.kafka.tools.{main}", *arguments)
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            said = done.stdout[-2000:] + done.stderr[-2000:]
            raise AssertionError(f"{main} {' '.join(map(str, arguments))}: status {done.returncode}: {said}")
        return done.stdout

    def at(self):
        return "--bootstrap-server", self.broker.bootstrap

    def filled(self, name, partitions=1, records=10):
        topic = fresh(name)
        self.client.create_topic(topic, partitions)
        for partition in range(partitions):
            self.client.produce(topic, numbered(records, partition))
        return topic

    def topics(self):
        topic = fresh("tool-topics")
        config = ("--config", "retention.ms=7200000")
        self.tool("TopicCommand", *self.at(), "--create", "--topic", topic, "--partitions", 3, *config)
        contains(self.tool("TopicCommand", *self.at(), "--list"), rf"^{topic}$")
        shown = self.tool("TopicCommand", *self.at(), "--describe", "--topic", topic)
        contains(shown, rf"Topic: {topic}\s.*PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention.ms=7200000")
        contains(shown, r"Partition: 2\s+Leader: 1\s+Replicas: 1\s+Isr: 1")
        self.tool("TopicCommand", *self.at(), "--alter", "--topic", topic, "--partitions", 5)
        contains(self.tool("TopicCommand", *self.at(), "--describe", "--topic", topic), r"PartitionCount: 5\s")
        same(self.tool("TopicCommand", *self.at(), "--describe", "--under-replicated-partitions").strip(), "", "partitions")
        self.tool("TopicCommand", *self.at(), "--delete", "--topic", topic)
        if topic in self.tool("TopicCommand", *self.at(), "--list"):
            raise AssertionError(f"{topic} is still there")

    def configs(self):
        topic = self.filled("tool-configs")
        entity = (*self.at(), "--entity-type", "topics", "--entity-name", topic)
        self.tool("ConfigCommand", *entity, "--alter", "--add-config", "retention.ms=3600000,cleanup.policy=[compact,delete]")
        shown = self.tool("ConfigCommand", *entity, "--describe")
        contains(shown, r"retention.ms=3600000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:retention.ms=3600000")
        contains(shown, r"cleanup.policy=compact,delete ")
        self.tool("ConfigCommand", *entity, "--alter", "--delete-config", "retention.ms")
        shown = self.tool("ConfigCommand", *entity, "--describe", "--all")
        contains(shown, r"retention.ms=604800000 sensitive=false")
        contains(shown, r"max.message.bytes=1048588 ")
        broker = (*self.at(), "--entity-type", "brokers", "--entity-name", 1)
        contains(self.tool("ConfigCommand", *broker, "--describe", "--all"), r"log.segment.bytes=1073741824 ")

    def group_configs(self):
        group = fresh("tool-group-configs")
        entity = (*self.at(), "--entity-type", "groups", "--entity-name", group)
        self.tool("ConfigCommand", *entity, "--alter", "--add-config", "consumer.session.timeout.ms=50000")
        shown = self.tool("ConfigCommand", *entity, "--describe")
        contains(shown, r"consumer.session.timeout.ms=50000 .*synonyms=\{DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000")
        try:
            self.tool("ConfigCommand", *entity, "--alter", "--add-config", "consumer.session.timeout.ms=1")
        except AssertionError as refused:
            contains(str(refused), r"must be in the range 45000 to 60000 inclusive")
        else:
            raise AssertionError("a session timeout outside the bounds was taken")
        self.tool("ConfigCommand", *entity, "--alter", "--delete-config", "consumer.session.timeout.ms")

    def consumer_groups(self):
        topic, group = self.filled("tool-groups", 2), fresh("tool-group")
        self.client.join("tool", group, topic)
        while len(self.client.poll("tool", 0.3)["assignment"]) != 2:
            pass
        self.client.commit("tool", topic, [[0, 4, ""], [1, 10, ""]])
        described = (*self.at(), "--group", group, "--describe")
        main = "consumer.group.ConsumerGroupCommand"
        contains(self.tool(main, *self.at(), "--list"), rf"^{group}$")
        shown = self.tool(main, *described)
        contains(shown, rf"^{group}\s+{topic}\s+0\s+(0\s+)?4\s+10\s+6\s")
        contains(self.tool(main, *described, "--state"), rf"^{group}\s+.*\sStable\s+1\s*$")
        contains(self.tool(main, *described, "--members"), rf"^{group}\s+rdkafka-\S+\s+.*\s2\s")
        self.client.leave("tool")
        reset = (*self.at(), "--group", group, "--reset-offsets", "--topic", topic, "--execute")
        contains(self.tool(main, *reset, "--to-offset", 2), rf"{group}\s+{topic}\s+0\s+2")
        same(self.client.committed(group, topic), {"0": [2, ""], "1": [2, ""]}, "offsets that were reset")
        self.tool(main, *reset, "--to-latest")
        same(self.client.committed(group, topic), {"0": [10, ""], "1": [10, ""]}, "offsets that were reset")
        self.tool(main, *self.at(), "--group", group, "--delete-offsets", "--topic", topic)
        same(self.client.committed(group, topic), {}, "offsets that were deleted")
        self.tool(main, *self.at(), "--group", group, "--delete")
        if group in self.tool(main, *self.at(), "--list"):
            raise AssertionError(f"{group} is still there")

    def get_offsets(self):
        topic = fresh("tool-offsets")
        self.client.create_topic(topic, 2)
        start = int(time.time() * 1000) - 10000
        times = [start, start + 2000, start + 1000]
        self.client.produce(topic, [{"partition": 0, "key": "k", "value": "v", "timestamp": at} for at in times])
        for asked, wanted in {
            "earliest": ["0:0", "1:0"],
            "latest": ["0:3", "1:0"],
            "max-timestamp": ["0:1"],
            str(start + 500): ["0:1"],
            str(start + 5000): [],
        }.items():
            shown = self.tool("GetOffsetShell", *self.at(), "--topic", topic, "--time", asked)
            found = re.findall(rf"^{topic}:(\d+:\d+)$", shown, re.MULTILINE)
            if asked not in ("earliest", "latest"):
                # Where there is no such record, the tool shows the end or nothing.
                found = [at for at in found if at not in ("0:3", "1:0")]
            same(found, wanted, f"offsets by {asked}")

    def delete_records(self):
        topic = self.filled("tool-delete", 2)
        with tempfile.TemporaryDirectory() as directory:
            wanted = Path(directory) / "offsets.json"
            partitions = [{"topic": topic, "partition": 0, "offset": 6}, {"topic": topic, "partition": 1, "offset": -1}]
            wanted.write_text(json.dumps({"partitions": partitions, "version": 1}))
            shown = self.tool("DeleteRecordsCommand", *self.at(), "--offset-json-file", wanted)
        contains(shown, rf"partition: {topic}-0\s+low_watermark: 6")
        contains(shown, rf"partition: {topic}-1\s+low_watermark: 10")
        read = self.client.consume(topic)
        same(sorted((record["partition"], record["offset"]) for record in read), [(0, at) for at in range(6, 10)], "what is left")

    def log_dirs(self):
        topic = self.filled("tool-dirs", 1, 100)
        shown = self.tool("LogDirsCommand", *self.at(), "--describe", "--topic-list", topic)
        found = json.loads(next(line for line in shown.splitlines() if line.startswith("{")))
        (directory,) = found["brokers"][0]["logDirs"]
        (partition,) = directory["partitions"]
        same((partition["partition"], directory["error"]), (f"{topic}-0", None), "log directory")
        if partition["size"] <= 0:
            raise AssertionError(f"a size of {partition['size']}")

    def verifiable_clients(self):
        topic = fresh("tool-verifiable")
        self.client.create_topic(topic, 3)
        shown = self.tool("VerifiableProducer", *self.at(), "--topic", topic, "--max-messages", 500, "--acks", -1)
        contains(shown, r'"name":"tool_data".*"sent":500.*"acked":500')
        group = ("--group-id", fresh("tool-group"), "--topic", topic, "--max-messages", 500, "--reset-policy", "earliest")
        shown = self.tool("VerifiableConsumer", *self.at(), *group)
        counts = [json.loads(line) for line in shown.splitlines() if '"records_consumed"' in line]
        same(sum(event["count"] for event in counts), 500, "records consumed")
        contains(shown, r'"name":"offsets_committed".*"success":true|"success":true.*"name":"offsets_committed"')

    def performance_clients(self):
        topic = fresh("tool-performance")
        self.client.create_topic(topic, 1)
        size = ("--num-records", 20000, "--record-size", 100, "--throughput", -1)
        shown = self.tool("ProducerPerformance", "--topic", topic, *size, "--bootstrap-server", self.broker.bootstrap)
        contains(shown, r"^20000 records sent, ")
        shown = self.tool("ConsumerPerformance", *self.at(), "--topic", topic, "--num-records", 20000, "--timeout", 30000)
        rows = [line.split(", ") for line in shown.splitlines() if re.match(r"\d{4}-", line)]
        same([int(row[4]) for row in rows][-1] >= 20000, True, f"the last row of {rows}")

    def console_clients(self):
        topic = fresh("tool-console")
        self.client.create_topic(topic, 1)
        self.tool("ConsoleProducer", *self.at(), "--topic", topic, text="one\ntwo\nthree\n")
        some = ("--topic", topic, "--from-beginning", "--max-messages", 3, "--timeout-ms", 30000)
        same(self.tool("consumer.ConsoleConsumer", *self.at(), *some).split(), ["one", "two", "three"], "lines")

    def transactions(self):
        topic, name = fresh("tool-tx"), fresh("tx")
        self.client.create_topic(topic, 1)
        self.client.transaction(name, topic, numbered(3), "commit")
        contains(self.tool("TransactionsCommand", *self.at(), "list"), rf"^{name}\s+\S+\s+\d+\s+CompleteCommit")
        shown = self.tool("TransactionsCommand", *self.at(), "describe", "--transactional-id", name)
        contains(shown, rf"\s{name}\s+\d+\s+\d+\s+CompleteCommit\s")
        shown = self.tool("TransactionsCommand", *self.at(), "describe-producers", "--topic", topic, "--partition", 0)
        contains(shown, r"^\d+\s+\d+\s+\S+\s+2\s+\d+\s+None")

    def hanging_transaction(self):
        """A transaction whose producer is gone is found by where it begins, and aborted."""
        topic, name = fresh("tool-hanging"), fresh("tx")
        self.client.create_topic(topic, 1)
        self.client.transaction(name, topic, numbered(3), "leave open")
        self.client.produce(topic, numbered(2))
        producers = (*self.at(), "describe-producers", "--topic", topic, "--partition", 0)
        contains(self.tool("TransactionsCommand", *producers), r"^\d+\s+\d+\s+\S+\s+2\s+\d+\s+0\s*$")
        self.tool("TransactionsCommand", *self.at(), "abort", "--topic", topic, "--partition", 0, "--start-offset", 0)
        contains(self.tool("TransactionsCommand", *producers), r"^\d+\s+\d+\s+\S+\s+2\s+\d+\s+None")
        read = ("--topic", topic, "--from-beginning", "--max-messages", 2, "--timeout-ms", 30000)
        committed = self.tool("consumer.ConsoleConsumer", *self.at(), *read, "--isolation-level", "read_committed")
        same(len(committed.split("\n")[:-1]), 2, "records behind the transaction")

    def cluster_and_features(self):
        contains(self.tool("ClusterTool", "cluster-id", *self.at()), r"Cluster ID: \S{22}")
        shown = self.tool("FeatureCommand", *self.at(), "describe")
        contains(shown, r"Feature: transaction.version\s.*FinalizedVersionLevel: 2\s")
        shown = self.tool("BrokerApiVersionsCommand", *self.at())
        contains(shown, r"Produce\(0\): 0 to 13 \[usable: 13\]")

    def client_compatibility(self):
        """Kafka's own probe of what a broker can do."""
        topic = fresh("tool-compatibility")
        self.client.create_topic(topic, 1)
        can = [
            ("--offsets-for-times-supported", True),
            ("--cluster-id-supported", True),
            ("--expect-record-too-large-exception", False),
            ("--create-topics-supported", True),
            ("--describe-acls-supported", True),
            ("--describe-configs-supported", True),
            ("--idempotent-producer-supported", True),
        ]
        arguments = [str(word).lower() if isinstance(word, bool) else word for pair in can for word in pair]
        self.tool("ClientCompatibilityTest", *self.at(), "--topic", topic, "--num-cluster-nodes", 1, *arguments)


def contains(text, pattern):
    if not re.search(pattern, text, re.MULTILINE):
        raise AssertionError(f"no {pattern!r} in\n{text}")


def check(report, broker, tools, client):
    checks = [
        "topics",
        "configs",
        "group_configs",
        "consumer_groups",
        "get_offsets",
        "delete_records",
        "log_dirs",
        "verifiable_clients",
        "performance_clients",
        "console_clients",
        "transactions",
        "hanging_transaction",
        "cluster_and_features",
        "client_compatibility",
    ]
    for name in checks:
        report.check(f"tool: {name}", getattr(Tools(broker, tools, client), name))
