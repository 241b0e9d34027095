"""Scenarios of the admin requests: one client changes something, the other one sees it.

Shaped like those of scenarios.py; `compacted` is given all clients at once, because a cleaner takes its time.
"""

import re
import time

from driver import ClientError
from scenarios import CONSUMER, await_assignment, await_records, fresh, numbered, plain, same


def eventually(what, wanted, name, seconds=15):
    """A change is done when it was answered, and not yet known to every part of a broker: Apache Kafka takes a moment."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = what()
        except ClientError as error:
            found = error
        if found == wanted:
            return
        if time.monotonic() > deadline:
            same(found, wanted, f"{name}, after {seconds} s")
        time.sleep(0.1)


def refused(what, reason):
    try:
        what()
    except ClientError as error:
        if re.search(reason, str(error), re.IGNORECASE):
            return
        raise AssertionError(f"refused for another reason than {reason}: {error}") from error
    raise AssertionError(f"it was not refused: {reason}")


def topics(writer, reader, admin):
    """Topics come with the partitions and configs they were asked with, grow, and go."""
    topic = fresh("topics")
    writer.create_topic(topic, 2, {"retention.ms": "7200000"})
    eventually(lambda: reader.describe_topic(topic), [[1, [1]]] * 2, "partitions")
    same(reader.topic_configs(topic)["retention.ms"], "7200000", "retention.ms")
    writer.add_partitions(topic, 4)
    eventually(lambda: reader.describe_topic(topic), [[1, [1]]] * 4, "partitions after more were made")
    refused(lambda: writer.add_partitions(topic, 3), "partition")
    writer.produce(topic, numbered(3, 3))
    same(plain(reader.consume(topic), "partition", "offset"), [(3, at) for at in range(3)], "records of a new partition")
    writer.delete_topic(topic)
    eventually(lambda: topic in reader.list_topics(), False, "whether a deleted topic is listed")
    # KafkaJS tries this again for ten seconds.
    if writer.name != "kafkajs":
        refused(lambda: writer.delete_topic(topic), "unknown.?topic|does not host")


def topic_configs(writer, reader, admin):
    """Configs are set, appended to, subtracted from and deleted one by one; a wrong value changes nothing."""
    topic = fresh("configs")
    admin.create_topic(topic, 1)

    def seen(retention, policy):
        def found():
            configs = reader.topic_configs(topic)
            return configs["retention.ms"], configs["cleanup.policy"]

        eventually(found, (retention, policy), "configs")

    seen("604800000", "delete")
    writer.alter_topic_configs(topic, [["SET", "retention.ms", "3600000"], ["APPEND", "cleanup.policy", "compact"]])
    seen("3600000", "delete,compact")
    wrong = [["SET", "retention.ms", "1000"], ["SET", "max.message.bytes", "many"]]
    refused(lambda: writer.alter_topic_configs(topic, wrong), "invalid.?config|config.*invalid")
    seen("3600000", "delete,compact")
    writer.alter_topic_configs(topic, [["DELETE", "retention.ms", None], ["SUBTRACT", "cleanup.policy", "delete"]])
    seen("604800000", "compact")


def replaced_topic_configs(writer, reader, admin):
    """The older AlterConfigs takes away what it does not name."""
    topic = fresh("replaced")
    admin.create_topic(topic, 1)

    def seen(*wanted):
        def found():
            configs = reader.topic_configs(topic)
            return configs["retention.ms"], configs["max.message.bytes"]

        eventually(found, wanted, "configs")

    writer.replace_topic_configs(topic, {"retention.ms": "3600000"})
    seen("3600000", "1048588")
    writer.replace_topic_configs(topic, {"max.message.bytes": "3000"})
    seen("604800000", "3000")


def groups(writer, reader, admin, **settings):
    """A group is listed, described in its states, kept as long as it has members, and deleted."""
    topic, group = fresh("grouped"), fresh("group")
    admin.create_topic(topic, 2)
    writer.join("one", group, topic, **settings)
    await_assignment([(writer, "one")], 2)
    eventually(lambda: reader.describe_group(group), ["stable", 1], "a group with a member")
    same(group in reader.list_groups(), True, "whether the group is listed")
    refused(lambda: reader.delete_group(group), "non_?empty|not.?empty")
    writer.leave("one")
    eventually(lambda: reader.describe_group(group), ["empty", 0], "a group that was left")
    reader.delete_group(group)
    same(group in admin.list_groups(), False, "whether a deleted group is listed")


def groups_of_the_consumer_protocol(writer, reader, admin):
    groups(writer, reader, admin, **CONSUMER)


def group_offsets(writer, reader, admin):
    """Offsets that were set from outside are where the next member begins."""
    topic, group = fresh("altered"), fresh("group")
    admin.create_topic(topic, 2)
    for partition in range(2):
        admin.produce(topic, numbered(10, partition))
    writer.alter_offsets(group, topic, [[0, 3], [1, 8]])
    same(reader.committed(group, topic), {"0": [3, ""], "1": [8, ""]}, "offsets that were set")
    reader.join("one", group, topic)
    wanted = [(0, at) for at in range(3, 10)] + [(1, 8), (1, 9)]
    same(plain(await_records(reader, "one", 9), "partition", "offset"), wanted, "records from there on")
    reader.leave("one")


def deleted_group_offsets(writer, reader, admin):
    topic, group = fresh("forgotten"), fresh("group")
    admin.create_topic(topic, 2)
    writer.alter_offsets(group, topic, [[0, 0], [1, 0]])
    writer.delete_offsets(group, topic, [0])
    same(reader.committed(group, topic), {"1": [0, ""]}, "offsets that are left")


def deleted_records(writer, reader, admin):
    """Everything before an offset goes; what comes then has the offsets it would have had."""
    topic = fresh("shortened")
    admin.create_topic(topic, 2)
    for partition in range(2):
        admin.produce(topic, numbered(10, partition))
    writer.delete_records(topic, [[0, 6], [1, 10]])
    refused(lambda: writer.delete_records(topic, [[0, 11]]), "out.?of.?range|not within the range")
    admin.produce(topic, numbered(1, 1))
    wanted = [(0, at) for at in range(6, 10)] + [(1, 10)]
    same(plain(reader.consume(topic), "partition", "offset"), wanted, "records that are left")


def compacted(clients, admin):
    """Each client writes a partition of a compacted topic: of each key the last committed record stays, keys with a
    tombstone go, and every client reads what is left."""
    topic = fresh("compacted")
    eager = {"segment.ms": "100", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "0"}
    admin.create_topic(topic, len(clients), eager | {"cleanup.policy": "compact"})
    for partition, writer in enumerate(clients):
        for turn in range(3):
            writer.produce(topic, numbered(10, partition, f"turn-{turn}"))
        gone = [{"partition": partition, "key": f"key-{at}", "value": None} for at in (8, 9)]
        writer.produce(topic, gone)
        name = fresh("tx")
        writer.transaction(name, topic, [{"partition": partition, "key": "key-0", "value": "committed"}], "commit")
        # Records that kcat aborts have no keys.
        if writer.name != "kcat":
            writer.transaction(name, topic, [{"partition": partition, "key": "key-1", "value": "aborted"}], "abort")
    left = [(f"key-{at}", f"turn-2-{at}") for at in range(1, 8)] + [("key-0", "committed")]
    wanted = [(partition, *record) for partition in range(len(clients)) for record in left]

    def found(reader, isolation):
        read = plain(reader.consume(topic, isolation=isolation), "partition", "key", "value")
        return [record for record in read if record[1] != "newest"]

    def turn():
        # The newest segment is never compacted, and is closed by the first record that comes after its time.
        admin.produce(topic, [{"partition": at, "key": "newest", "value": "x"} for at in range(len(clients))])
        return found(admin, "read_uncommitted")

    eventually(turn, wanted, "records of a compacted topic", seconds=60)
    for reader in clients:
        # kafka-python cannot read what is left of a producer's last batch when all of its records went: an empty batch.
        if reader.name == "kafka-python":
            continue
        same(found(reader, "read_committed"), wanted, f"records of a compacted topic, read by {reader.name}")
