"""Driver of confluent-kafka: Python over librdkafka."""

import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic

from serve import bytes_or_none, serve, text


class Driver:
    def __init__(self, bootstrap):
        self.common = {"bootstrap.servers": bootstrap, "socket.timeout.ms": 10000}
        self.admin = AdminClient(self.common)
        self.members = {}

    # Topics

    def create_topic(self, topic, partitions=1, configs=None):
        self.admin.create_topics([NewTopic(topic, partitions, 1, config=configs or {})])[topic].result(20)

    def add_partitions(self, topic, total):
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(20)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])[topic].result(20)

    def list_topics(self):
        return sorted(self.admin.list_topics(timeout=20).topics)

    def describe_topic(self, topic):
        """[leader, replicas] of each partition."""
        found = self.admin.describe_topics(TopicCollection([topic]))[topic].result(20)
        return [[at.leader.id, [node.id for node in at.replicas]] for at in sorted(found.partitions, key=lambda at: at.id)]

    def topic_configs(self, topic):
        (asked,) = self.admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
        return {name: entry.value for name, entry in asked.result(20).items()}

    def alter_topic_configs(self, topic, changes):
        """Each change is [SET, DELETE, APPEND or SUBTRACT, name, value]."""
        entries = [ConfigEntry(name, value, incremental_operation=AlterConfigOpType[op]) for op, name, value in changes]
        wanted = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
        (done,) = self.admin.incremental_alter_configs([wanted]).values()
        done.result(20)

    def replace_topic_configs(self, topic, configs):
        """With the older request, which takes away what it does not name."""
        (done,) = self.admin.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, set_config=configs)]).values()
        done.result(20)

    def delete_records(self, topic, offsets):
        """[[partition, offset]]: everything before that offset."""
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets]
        for done in self.admin.delete_records(wanted).values():
            done.result(20)

    # Records

    def produce(self, topic, records, codec="none", acks="all", idempotent=False):
        settings = {
            "compression.codec": codec,
            "acks": acks,
            "enable.idempotence": idempotent,
            "linger.ms": 20,
            "message.max.bytes": 20_000_000,
        }
        producer = Producer(self.common | settings)
        waiting = self._send(producer, topic, records)
        if producer.flush(30):
            raise RuntimeError("records left after a flush of 30 s")
        return _places(waiting)

    def transaction(self, transactional_id, topic, records, end, codec="none", offsets=None):
        producer = Producer(self.common | {"transactional.id": transactional_id, "compression.codec": codec, "linger.ms": 20})
        producer.init_transactions(30)
        producer.begin_transaction()
        waiting = self._send(producer, topic, records)
        producer.flush(30)
        if offsets:
            member = self.members[offsets["member"]]
            wanted = [TopicPartition(o["topic"], o["partition"], o["offset"]) for o in offsets["offsets"]]
            producer.send_offsets_to_transaction(wanted, member.consumer_group_metadata(), 30)
        if end == "commit":
            producer.commit_transaction(30)
        elif end == "abort":
            producer.abort_transaction(30)
        # Anything else leaves it open.
        return _places(waiting)

    def _send(self, producer, topic, records):
        waiting = [None] * len(records)

        def delivered(at):
            def callback(error, message):
                waiting[at] = error or message

            return callback

        for at, record in enumerate(records):
            arguments = {}
            if record.get("partition") is not None:
                arguments["partition"] = record["partition"]
            if record.get("timestamp") is not None:
                arguments["timestamp"] = record["timestamp"]
            headers = [(name, bytes_or_none(value)) for name, value in record.get("headers") or []]
            producer.produce(
                topic,
                key=bytes_or_none(record.get("key")),
                value=bytes_or_none(record.get("value")),
                headers=headers or None,
                on_delivery=delivered(at),
                **arguments,
            )
            producer.poll(0)
        return waiting

    def consume(self, topic, isolation="read_uncommitted", timeout=30):
        """All records from the beginning to the end that this isolation level sees."""
        consumer = Consumer(
            self.common
            | {
                "group.id": "no-group",
                "enable.auto.commit": False,
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "check.crcs": True,
                "auto.offset.reset": "error",
                "fetch.message.max.bytes": 20_000_000,
            }
        )
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        read, ended, deadline = [], set(), time.monotonic() + timeout
        while ended != set(partitions):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout} s at the end of {sorted(ended)} of {sorted(partitions)}")
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error() is None:
                read.append(_record(message))
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(message.error())
        consumer.close()
        return read

    # Groups

    def join(self, member, group, topic, isolation="read_uncommitted", protocol="classic", strategy="range", pattern=None):
        settings = {
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "group.protocol": protocol,
        }
        if protocol == "classic":
            settings |= {"session.timeout.ms": 10000, "heartbeat.interval.ms": 500, "partition.assignment.strategy": strategy}
        consumer = Consumer(self.common | settings)
        # What begins with ^ is a pattern.
        consumer.subscribe([f"^{pattern}$" if pattern else topic])
        self.members[member] = consumer

    def poll(self, member, seconds=0.5):
        """What came within that time, and the partitions the member has."""
        consumer, read, deadline = self.members[member], [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            message = consumer.poll(left)
            if message is None:
                continue
            if message.error() is not None:
                raise KafkaException(message.error())
            read.append(_record(message))
        return {"records": read, "assignment": sorted(partition.partition for partition in consumer.assignment())}

    def commit(self, member, topic=None, offsets=None):
        """Commits the positions, or the offsets given as [[partition, offset, metadata]]."""
        consumer = self.members[member]
        if offsets is None:
            consumer.commit(asynchronous=False)
            return
        wanted = [TopicPartition(topic, partition, offset, metadata) for partition, offset, metadata in offsets]
        for partition in consumer.commit(offsets=wanted, asynchronous=False):
            if partition.error is not None:
                raise KafkaException(partition.error)

    def leave(self, member):
        self.members.pop(member).close()

    def committed(self, group, topic):
        """{partition: [offset, metadata]}"""
        asked = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        found = asked[group].result(20).topic_partitions
        return {str(at.partition): [at.offset, at.metadata or ""] for at in found if at.topic == topic and at.offset >= 0}

    def list_groups(self):
        return sorted(group.group_id for group in self.admin.list_consumer_groups().result(20).valid)

    def describe_group(self, group):
        """[state, number of members]"""
        found = self.admin.describe_consumer_groups([group])[group].result(20)
        return [found.state.name.lower(), len(found.members)]

    def delete_group(self, group):
        self.admin.delete_consumer_groups([group])[group].result(20)

    def alter_offsets(self, group, topic, offsets):
        """[[partition, offset]] of a group without members."""
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in offsets]
        done = self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])
        for at in done[group].result(20).topic_partitions:
            if at.error is not None:
                raise KafkaException(at.error)


def _record(message):
    kind, timestamp = message.timestamp()
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": [[name, text(value)] for name, value in message.headers() or []],
        "timestamp": None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
    }


def _places(waiting):
    for message in waiting:
        if message is None:
            raise RuntimeError("a record was never reported")
        if isinstance(message, KafkaError):
            raise KafkaException(message)
    return [[message.partition(), message.offset()] for message in waiting]


serve(Driver(sys.argv[1]))
