"""A copier copies a topic in transactions, of which it aborts a third, while it and the broker are killed: what is committed is
the input, each record once, and in order. It is Kafka's TransactionalMessageCopier, or an example of our own client library."""

import driver
from apache_kafka import java
from faults import Faults, Follower, Worker, difference
from scenarios import fresh

MAIN = "org.apache.kafka.tools.TransactionalMessageCopier"
PARTITIONS = 2
# So few that the killed are mostly in the middle of one.
TRANSACTION = 20


def write_input(client, topic, records):
    """Records of each partition, and between them some that were aborted. Gives the former, as (partition, key, value)."""
    wanted = []
    client.create_topic(topic, PARTITIONS)
    for partition in range(PARTITIONS):
        half = records // PARTITIONS // 2
        for part in range(2):
            numbers = range(part * half, (part + 1) * half)
            written = [{"partition": partition, "key": f"key-{at % 100}", "value": f"value-{at}"} for at in numbers]
            client.produce(topic, written, idempotent=True)
            aborted = [record | {"value": "aborted"} for record in written[:50]]
            client.transaction(fresh("input"), topic, aborted, "abort")
            wanted += [(partition, record["key"], record["value"]) for record in written]
    return wanted


def ours(broker, binary, source, target, how):
    """Members of one group, as many as partitions, of client/examples/copier.rs: with the loop of the library or with its parts."""
    group = fresh("copiers")
    for number in range(PARTITIONS):
        yield Worker(f"copier {number}", [binary, broker.bootstrap, source, target, group, f"{group}-{number}", how])


def kafkas(broker, tools, source, target, in_group):
    """One for each partition; or as many members of one group, which may read each other's when one is away."""
    group = fresh("copiers")
    for partition in range(PARTITIONS):
        arguments = ["--broker-list", broker.bootstrap, "--input-topic", source, "--input-partition", partition]
        arguments += ["--output-topic", target, "--consumer-group", group, "--transactional-id", f"{group}-{partition}"]
        # The copier asks for its offsets before it ends what its predecessor left open, so it waits for that to time out.
        arguments += ["--transaction-size", TRANSACTION, "--transaction-timeout", 3000, "--enable-random-aborts"]
        if in_group:
            arguments += ["--group-mode", "--use-group-metadata"]
        yield Worker(f"copier {partition}", java(tools, MAIN, *arguments, memory="128m"))


def copy(broker, tools, plan, records, copiers, seconds):
    """`copiers` starts them, from one topic to another."""
    client = driver.start("confluent-kafka", tools, broker.bootstrap)
    source, target = fresh("copied-from"), fresh("copied-to")
    wanted = write_input(client, source, records)
    client.create_topic(target, PARTITIONS)
    follower, workers = Follower(broker.bootstrap, target, PARTITIONS), []
    faults = Faults(broker, follower, workers)
    try:
        workers += copiers(source, target)
        # One of Kafka's ends by itself at the end of the input, but counts as such what it is never shown.
        faults.run(len(wanted), plan, lambda: len(follower.records) >= len(wanted), seconds)
        for worker in workers:
            worker.stop()
        followed = follower.stop()
        read = {
            isolation: sorted((record["partition"], record["offset"], record["key"], record["value"]) for record in records)
            for isolation in ("read_committed", "read_uncommitted")
            for records in [client.consume(target, isolation=isolation)]
        }
        committed = [(partition, key, value) for partition, _, key, value in read["read_committed"]]
        difference(committed, wanted, "committed records of the copy")
        difference(followed, read["read_committed"], "what a reader saw meanwhile")
        aborted = len(read["read_uncommitted"]) - len(committed)
        if aborted == 0:
            raise AssertionError("nothing was ever aborted")
        return f"{len(committed)} records copied, {aborted} aborted; {faults.told()}"
    except AssertionError as error:
        raise AssertionError(faults.story(error)) from error
    finally:
        follower.ended.set()
        for worker in workers:
            worker.end()
        client.close()
