"""Driver of kafka-python: Python from the socket up."""

import sys
import time
from contextlib import contextmanager

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import NoError
from kafka.structs import OffsetAndMetadata

from serve import bytes_or_none, serve, text


class Driver:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.members = {}

    # Topics

    def create_topic(self, topic, partitions=1, configs=None):
        with self._admin() as admin:
            admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs or {})])

    @contextmanager
    def _admin(self):
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            yield admin
        finally:
            admin.close()

    def add_partitions(self, topic, total):
        with self._admin() as admin:
            admin.create_partitions({topic: total})

    def delete_topic(self, topic):
        with self._admin() as admin:
            admin.delete_topics([topic])

    def list_topics(self):
        with self._admin() as admin:
            return sorted(admin.list_topics())

    def describe_topic(self, topic):
        """[leader, replicas] of each partition."""
        with self._admin() as admin:
            (found,) = admin.describe_topics([topic])
        partitions = sorted(found["partitions"], key=lambda at: at["partition_index"])
        return [[at["leader_id"], at["replica_nodes"]] for at in partitions]

    def topic_configs(self, topic):
        with self._admin() as admin:
            found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return {name: entry["value"] for name, entry in found["topic"][topic].items()}

    def alter_topic_configs(self, topic, changes):
        """Each change is [SET, DELETE, APPEND or SUBTRACT, name, value]."""
        wanted = {name: (op, value) for op, name, value in changes}
        with self._admin() as admin:
            done = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, wanted)], incremental=True)
        for resources in done.values():
            for said in resources.values():
                if said != "OK":
                    raise RuntimeError(f"alter_configs: {said}")

    def delete_records(self, topic, offsets):
        """[[partition, offset]]: everything before that offset."""
        with self._admin() as admin:
            admin.delete_records({TopicPartition(topic, partition): offset for partition, offset in offsets})

    # Records

    def produce(self, topic, records, codec="none", acks="all", idempotent=False):
        producer = self._producer(codec, acks=acks if acks == "all" else int(acks), enable_idempotence=idempotent)
        sent = self._send(producer, topic, records)
        places = [_place(future) for future in sent]
        producer.close(10)
        return places

    def transaction(self, transactional_id, topic, records, end, codec="none", offsets=None):
        producer = self._producer(codec, transactional_id=transactional_id)
        producer.init_transactions()
        producer.begin_transaction()
        sent = self._send(producer, topic, records)
        producer.flush(30)
        places = [_place(future) for future in sent]
        if offsets:
            member = self.members[offsets["member"]]
            wanted = {
                TopicPartition(at["topic"], at["partition"]): OffsetAndMetadata(at["offset"], "", -1)
                for at in offsets["offsets"]
            }
            producer.send_offsets_to_transaction(wanted, member.group_metadata())
        if end == "commit":
            producer.commit_transaction()
        else:
            producer.abort_transaction()
        producer.close(10)
        return places

    def _producer(self, codec, **settings):
        return KafkaProducer(
            bootstrap_servers=self.bootstrap,
            compression_type=None if codec == "none" else codec,
            linger_ms=20,
            max_request_size=20_000_000,
            **settings,
        )

    def _send(self, producer, topic, records):
        return [
            producer.send(
                topic,
                key=bytes_or_none(record.get("key")),
                value=bytes_or_none(record.get("value")),
                headers=[(name, bytes_or_none(value)) for name, value in record.get("headers") or []],
                partition=record.get("partition"),
                timestamp_ms=record.get("timestamp"),
            )
            for record in records
        ]

    def consume(self, topic, isolation="read_uncommitted", timeout=30):
        """All records from the beginning to the end that this isolation level sees."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.bootstrap,
            isolation_level=isolation,
            enable_auto_commit=False,
            check_crcs=True,
            auto_offset_reset="none",
            max_partition_fetch_bytes=20_000_000,
        )
        partitions = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        # With read_committed this is the last stable offset.
        ends = consumer.end_offsets(partitions)
        read, deadline = [], time.monotonic() + timeout
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout} s not at {ends}")
            read += _records(consumer.poll(500))
        consumer.close()
        return read

    # Groups

    def join(self, member, group, topic, isolation="read_uncommitted", protocol="classic", strategy="range"):
        if protocol != "classic":
            raise NotImplementedError("kafka-python has the classic group protocol only")
        self.members[member] = KafkaConsumer(
            topic,
            bootstrap_servers=self.bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
            session_timeout_ms=10000,
            heartbeat_interval_ms=500,
            # A subscription may be overlooked while the first answer about the cluster is under way.
            metadata_max_age_ms=1000,
        )

    def poll(self, member, seconds=0.5):
        """What came within that time, and the partitions the member has."""
        consumer, read, deadline = self.members[member], [], time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            read += _records(consumer.poll(int(left * 1000)))
        return {"records": read, "assignment": sorted(partition.partition for partition in consumer.assignment())}

    def commit(self, member, topic=None, offsets=None):
        """Commits the positions, or the offsets given as [[partition, offset, metadata]]."""
        consumer = self.members[member]
        if offsets is None:
            consumer.commit()
            return
        consumer.commit(
            {TopicPartition(topic, partition): OffsetAndMetadata(offset, metadata, -1) for partition, offset, metadata in offsets}
        )

    def leave(self, member):
        self.members.pop(member).close(autocommit=False)

    def committed(self, group, topic):
        """{partition: [offset, metadata]}"""
        with self._admin() as admin:
            found = admin.list_group_offsets(group)[group]
        return {
            str(at.partition): [value.offset, value.metadata or ""]
            for at, value in found.items()
            if at.topic == topic and value.offset >= 0
        }

    def list_groups(self):
        with self._admin() as admin:
            return sorted(group["group_id"] for group in admin.list_groups())

    def describe_group(self, group):
        """[state, number of members]"""
        with self._admin() as admin:
            found = admin.describe_groups([group])[group]
        return [found["group_state"].lower(), len(found["members"])]

    def delete_group(self, group):
        with self._admin() as admin:
            _without_errors(admin.delete_groups([group]))

    def alter_offsets(self, group, topic, offsets):
        """[[partition, offset]] of a group without members."""
        wanted = {TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1) for partition, offset in offsets}
        with self._admin() as admin:
            _without_errors(admin.alter_group_offsets(group, wanted))

    def delete_offsets(self, group, topic, partitions):
        with self._admin() as admin:
            _without_errors(admin.delete_group_offsets(group, [TopicPartition(topic, at) for at in partitions]))


def _records(polled):
    return [
        {
            "partition": record.partition,
            "offset": record.offset,
            "key": text(record.key),
            "value": text(record.value),
            "headers": [[name, text(value)] for name, value in record.headers],
            "timestamp": record.timestamp,
        }
        for records in polled.values()
        for record in records
    ]


def _without_errors(done):
    """Admin operations on groups give an error's class for each thing that was asked."""
    for what, error in dict(done).items():
        if error not in (None, NoError, "OK"):
            raise RuntimeError(f"{what}: {error}")


def _place(future):
    sent = future.get(30)
    return [sent.partition, sent.offset]


serve(Driver(sys.argv[1]))
