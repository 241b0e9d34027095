"""What every client must be able to do, written once: each scenario gets a writer and a reader, which are drivers.

A scenario is named by its function. It may be given the same client twice. Topics are fresh for each run.
"""

import itertools
import re
import time

from driver import ClientError

# What a member of a group of the new protocol joins with.
CONSUMER = {"protocol": "consumer"}

_serial = itertools.count()


def fresh(name):
    return f"{name}-{time.time_ns() // 1_000_000}-{next(_serial)}"


def same(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}:\n  found  {found!r}\n  wanted {wanted!r}")


def plain(records, *fields):
    """The named fields of records, in the order of their places."""
    records = sorted(records, key=lambda record: (record["partition"], record["offset"]))
    return [tuple(record[field] for field in fields) for record in records]


def numbered(count, partition=0, prefix="value"):
    return [{"partition": partition, "key": f"key-{at}", "value": f"{prefix}-{at}"} for at in range(count)]


def shared_codecs(writer, reader):
    return [codec for codec in writer.codecs if codec in reader.codecs]


def every_codec(writer, reader, admin):
    """Records in each codec that both have come back as they were sent, in order, from each partition."""
    topic = fresh("codecs")
    codecs = shared_codecs(writer, reader)
    admin.create_topic(topic, len(codecs))
    wanted = []
    for partition, codec in enumerate(codecs):
        records = numbered(200, partition, codec + "-" + "x" * 50)
        writer.produce(topic, records, codec=codec)
        wanted += [(partition, at, record["key"], record["value"]) for at, record in enumerate(records)]
    same(plain(reader.consume(topic), "partition", "offset", "key", "value"), wanted, f"records in {codecs}")


def acknowledgements(writer, reader, admin):
    """acks=all, 1 and 0, with and without idempotence."""
    topic = fresh("acks")
    admin.create_topic(topic, 1)
    wanted = []
    for name, settings in {
        "all": {"acks": "all"},
        "leader": {"acks": "1"},
        "idempotent": {"acks": "all", "idempotent": True},
        "none": {"acks": "0"},
    }.items():
        writer.produce(topic, numbered(5, prefix=name), **settings)
        wanted += [f"{name}-{at}" for at in range(5)]
    # Nobody was told that the last ones arrived.
    deadline = time.monotonic() + 10
    while len(read := reader.consume(topic)) < len(wanted) and time.monotonic() < deadline:
        time.sleep(0.1)
    same([value for (value,) in plain(read, "value")], wanted, "records with each acks")


def repeated_headers(writer, reader, admin):
    """Headers keep their order, and a name may come more than once."""
    topic = fresh("headers")
    admin.create_topic(topic, 1)
    headers = [["b", "2"], ["a", "1"], ["a", "3"], ["a", "1"], ["empty", ""]]
    writer.produce(topic, [{"partition": 0, "key": "k", "value": "v", "headers": headers}])
    same(plain(reader.consume(topic), "key", "value", "headers"), [("k", "v", headers)], "headers")


def null_header_value(writer, reader, admin):
    topic = fresh("null-header")
    admin.create_topic(topic, 1)
    headers = [["a", None], ["a", "x"]]
    writer.produce(topic, [{"partition": 0, "key": "k", "value": "v", "headers": headers}])
    same(plain(reader.consume(topic), "headers"), [(headers,)], "a header without a value")


def null_key_and_value(writer, reader, admin):
    topic = fresh("nulls")
    admin.create_topic(topic, 1)
    writer.produce(topic, [{"partition": 0, "key": "k", "value": None}, {"partition": 0, "key": None, "value": "v"}])
    same(plain(reader.consume(topic), "key", "value"), [("k", None), (None, "v")], "nulls")


def timestamps(writer, reader, admin):
    """The producer's time stays; out of order, too."""
    topic = fresh("times")
    # These times are long ago.
    admin.create_topic(topic, 1, {"retention.ms": "-1"})
    times = [1_700_000_000_000, 1_600_000_000_000, 1_700_000_000_001]
    writer.produce(topic, [{"partition": 0, "key": "k", "value": "v", "timestamp": at} for at in times])
    same([at for (at,) in plain(reader.consume(topic), "timestamp")], times, "timestamps")


def log_append_time(writer, reader, admin):
    """With message.timestamp.type=LogAppendTime it is the broker's time."""
    topic = fresh("append-time")
    admin.create_topic(topic, 1, {"message.timestamp.type": "LogAppendTime"})
    before = time.time() * 1000 - 1000
    writer.produce(topic, numbered(3))
    after = time.time() * 1000 + 1000
    for (at,) in plain(reader.consume(topic), "timestamp"):
        if not before <= at <= after:
            raise AssertionError(f"timestamp {at} is not between {before} and {after}")


def large_records(writer, reader, admin):
    """Records near the limit of 1 MiB, and beyond it where the topic says so."""
    topic = fresh("large")
    admin.create_topic(topic, 1, {"max.message.bytes": "10000000"})
    values = ["a" * 1_000_000, "b" * 5_000_000, "c"]
    for value in values:
        writer.produce(topic, [{"partition": 0, "key": "k", "value": value}])
    same([len(value) for (value,) in plain(reader.consume(topic), "value")], [1_000_000, 5_000_000, 1], "large values")


def committed_transaction(writer, reader, admin):
    """What was committed is read with both isolation levels, in every codec."""
    topic = fresh("committed")
    admin.create_topic(topic, 1)
    wanted = []
    for codec in shared_codecs(writer, reader):
        writer.transaction(fresh("tx"), topic, numbered(20, prefix=codec), "commit", codec=codec)
        wanted += [f"{codec}-{at}" for at in range(20)]
    for isolation in ("read_committed", "read_uncommitted"):
        read = reader.consume(topic, isolation=isolation)
        same([value for (value,) in plain(read, "value")], wanted, f"committed records, {isolation}")


def aborted_transaction(writer, reader, admin):
    """What was aborted is there for read_uncommitted, and never for read_committed."""
    topic = fresh("aborted")
    admin.create_topic(topic, 1)
    name = fresh("tx")
    writer.produce(topic, numbered(3, prefix="before"))
    writer.transaction(name, topic, numbered(10, prefix="aborted"), "abort")
    writer.transaction(name, topic, numbered(4, prefix="committed"), "commit")
    writer.transaction(fresh("tx"), topic, numbered(10, prefix="aborted"), "abort")
    writer.produce(topic, numbered(3, prefix="after"))
    wanted = [f"before-{at}" for at in range(3)] + [f"committed-{at}" for at in range(4)] + [f"after-{at}" for at in range(3)]
    read = reader.consume(topic, isolation="read_committed")
    same([value for (value,) in plain(read, "value")], wanted, "records, read_committed")
    read = reader.consume(topic, isolation="read_uncommitted")
    same(sum("aborted" in value for (value,) in plain(read, "value")), 20, "aborted records, read_uncommitted")
    same(len(read), 30, "records, read_uncommitted")


def consumed_offsets_in_a_transaction(writer, reader, admin):
    """Offsets sent in a transaction count once it is committed, and never when it is aborted."""
    source, target, group = fresh("source"), fresh("target"), fresh("group")
    for topic in (source, target):
        admin.create_topic(topic, 1)
    writer.produce(source, numbered(10))
    writer.join("m", group, source)
    await_records(writer, "m", 10)
    for end, offset in (("commit", 4), ("abort", 9)):
        offsets = {"member": "m", "offsets": [{"topic": source, "partition": 0, "offset": offset}]}
        writer.transaction(fresh("tx"), target, numbered(1, prefix=end), end, offsets=offsets)
        same(await_offset(reader, group, source), 4, f"the committed offset after the {end}")
    writer.leave("m")
    read = reader.consume(target, isolation="read_committed")
    same([value for (value,) in plain(read, "value")], ["commit-0"], "records of the transaction")


def too_large_record(writer, reader, admin):
    """What is larger than its topic takes is refused, and what comes after it is not."""
    topic = fresh("too-large")
    admin.create_topic(topic, 1, {"max.message.bytes": "1000"})
    try:
        writer.produce(topic, [{"partition": 0, "key": "k", "value": "x" * 5000}])
    except ClientError as error:
        if not re.search("too.?large|larger", str(error), re.IGNORECASE):
            raise
    else:
        raise AssertionError("a record of 5000 bytes was taken")
    writer.produce(topic, [{"partition": 0, "key": "k", "value": "small"}])
    same([value for (value,) in plain(reader.consume(topic), "value")], ["small"], "values")


def two_members(writer, reader, admin, first={}, second={}):
    """A group of two, one member each of writer's and reader's client, shares four partitions and reads each record."""
    topic, group = fresh("shared"), fresh("group")
    admin.create_topic(topic, 4)
    writer.join("one", group, topic, **first)
    await_assignment([(writer, "one")], 4)
    reader.join("two", group, topic, **second)
    read = await_assignment([(writer, "one"), (reader, "two")], 4, each=2)
    for partition in range(4):
        admin.produce(topic, numbered(25, partition))
    deadline = time.monotonic() + 30
    while len(read) < 100 and time.monotonic() < deadline:
        for client, member in ((writer, "one"), (reader, "two")):
            read += client.poll(member, 0.3)["records"]
    wanted = [(partition, at) for partition in range(4) for at in range(25)]
    same(plain(read, "partition", "offset"), wanted, "records that the group read")
    # The one that stays gets all partitions.
    reader.leave("two")
    await_assignment([(writer, "one")], 4)
    writer.leave("one")


def two_members_of_the_consumer_protocol(writer, reader, admin):
    """KIP-848: the broker assigns."""
    two_members(writer, reader, admin, CONSUMER, CONSUMER)


def members_of_both_protocols(writer, reader, admin):
    """A group of the classic protocol is taken over by its first member of the new one, and given back by the last."""
    two_members(writer, reader, admin, second=CONSUMER)


def subscription_by_pattern(writer, reader, admin):
    """KIP-848: the broker looks for the topics that match; the whole name has to."""
    name, group = fresh("pattern"), fresh("group")
    for end, partitions in (("-a1", 2), ("-a2", 1), ("-b1", 1), ("-a1-more", 1)):
        admin.create_topic(name + end, partitions)
    admin.produce(name + "-a2", numbered(3))
    for end in ("-b1", "-a1-more"):
        admin.produce(name + end, numbered(3, prefix="not for this group"))
    writer.join("one", group, None, pattern=name + "-a[0-9]+", **CONSUMER)
    read, deadline = [], time.monotonic() + 40
    while (polled := writer.poll("one", 0.3))["assignment"] != [0, 0, 1] or len(read) < 3:
        read += polled["records"]
        if time.monotonic() > deadline:
            raise AssertionError(f"assigned {polled['assignment']}, read {read}")
    same(plain(read, "value"), [(f"value-{at}",) for at in range(3)], "values")
    writer.leave("one")


def committed_offsets_of_the_consumer_protocol(writer, reader, admin):
    committed_offsets(writer, reader, admin, **CONSUMER)


def committed_offsets(writer, reader, admin, **settings):
    """The writer's client commits in a group; the reader's sees the offsets, and goes on there as the next member."""
    topic, group = fresh("offsets"), fresh("group")
    admin.create_topic(topic, 2)
    for partition in range(2):
        admin.produce(topic, numbered(10, partition))
    writer.join("one", group, topic, **settings)
    await_records(writer, "one", 20)
    writer.commit("one", topic, [[0, 3, "a note"], [1, 10, ""]])
    found = {at: [offset, metadata.rstrip("\0")] for at, (offset, metadata) in reader.committed(group, topic).items()}
    # confluent-kafka sends its metadata with C's closing zero.
    same(found, {"0": [3, "a note"], "1": [10, ""]}, "committed offsets")
    writer.leave("one")
    reader.join("two", group, topic, **settings)
    read = await_records(reader, "two", 7)
    same(plain(read, "partition", "offset"), [(0, at) for at in range(3, 10)], "records after the committed offsets")
    reader.commit("two")
    same(writer.committed(group, topic), {"0": [10, ""], "1": [10, ""]}, "offsets after a commit of positions")
    reader.leave("two")


def offsets_of_a_stopped_member(writer, reader, admin):
    """For a client that commits what it consumed when it stops, and cannot be asked: kcat."""
    topic, group = fresh("stopped"), fresh("group")
    admin.create_topic(topic, 2)
    for partition in range(2):
        admin.produce(topic, numbered(10, partition))
    writer.join("one", group, topic)
    await_records(writer, "one", 20)
    writer.leave("one")
    same(admin.committed(group, topic), {"0": [10, ""], "1": [10, ""]}, "committed offsets")
    admin.produce(topic, numbered(1, prefix="next"))
    reader.join("two", group, topic)
    read = await_records(reader, "two", 1)
    same(plain(read, "partition", "offset", "value"), [(0, 10, "next-0")], "records after the committed offsets")
    reader.leave("two")


def await_assignment(members, partitions, each=None, seconds=40):
    """Polls until the members share so many partitions, each of them `each`. Gives what they read meanwhile."""
    read, deadline = [], time.monotonic() + seconds
    while True:
        polled = [client.poll(member, 0.3) for client, member in members]
        read += [record for answer in polled for record in answer["records"]]
        shares = [answer["assignment"] for answer in polled]
        if sorted(itertools.chain(*shares)) == list(range(partitions)) and all(
            each is None or len(share) == each for share in shares
        ):
            return read
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s the members have {shares} of {partitions} partitions")


def await_offset(client, group, topic, seconds=10):
    """Apache Kafka writes the markers of a transaction after it has answered that it is ended."""
    deadline = time.monotonic() + seconds
    while "0" not in (committed := client.committed(group, topic)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return committed["0"][0]


def await_records(client, member, count, seconds=30):
    read, deadline = [], time.monotonic() + seconds
    while len(read) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{client.name} read {len(read)} of {count} records in {seconds} s")
        read += client.poll(member, 0.3)["records"]
    return read
