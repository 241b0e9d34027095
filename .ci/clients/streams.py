"""A Kafka Streams application with exactly_once_v2 counts by key while it and the broker are killed: the counts of each key go
1, 2, 3, of records in the order in which they were written."""

import collections
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Producer

import driver
from apache_kafka import java
from faults import Faults, Follower, Worker, difference
from scenarios import fresh

MAIN = "CountWithStreams"
PARTITIONS = 2
KEYS = 30
# Slow enough that it is not over before all has been killed.
RECORDS_A_SECOND = 1000


class Writer:
    """Writes "key:number" evenly, in a thread of its own, with a key's records all in one partition."""

    def __init__(self, bootstrap, topic, records):
        self.topic, self.records, self.failed, self.ended = topic, records, [], threading.Event()
        # Several batches on their way at once, each of them exactly once, also if the broker goes.
        self.producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 5,
                "log_level": 0,
                "reconnect.backoff.max.ms": 500,
                "error_cb": lambda error: error.fatal() and self.failed.append(str(error)),
            }
        )
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self):
        started = time.monotonic()
        for at in range(self.records):
            key, number = at % KEYS, at // KEYS
            self.producer.produce(self.topic, f"{key}:{number}", partition=key % PARTITIONS, on_delivery=self.delivered)
            self.producer.poll(0)
            if self.ended.wait(max(0, started + at / RECORDS_A_SECOND - time.monotonic())):
                return
        self.producer.flush(60)

    def delivered(self, error, _):
        if error is not None:
            self.failed.append(str(error))

    def stop(self):
        self.thread.join(90)
        if self.failed:
            raise AssertionError(f"the writer of the input was told {self.failed[:5]}")


def by_key(pairs):
    found = collections.defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def count(broker, tools, plan, records, seconds):
    client = driver.start("confluent-kafka", tools, broker.bootstrap)
    source, target, name = fresh("counted"), fresh("counts"), fresh("counting")
    client.create_topic(source, PARTITIONS)
    client.create_topic(target, PARTITIONS)
    follower, workers = Follower(broker.bootstrap, target, PARTITIONS), []
    faults = Faults(broker, follower, workers)
    writer = Writer(broker.bootstrap, source, records)
    with tempfile.TemporaryDirectory(prefix="logmill-streams-") as directory:
        try:
            classes, state = Path(directory) / "classes", Path(directory) / "state"
            compiler = ["javac", "-cp", f"{tools}/jars/*", "-d", classes, driver.DRIVERS / f"{MAIN}.java"]
            subprocess.run(compiler, stdin=subprocess.DEVNULL, check=True, timeout=120)
            command = java(tools, MAIN, broker.bootstrap, name, source, target, state, classes=classes)
            workers.append(Worker("the application", command))
            faults.run(records, plan, lambda: len(follower.records) >= records, seconds)
            writer.stop()
            # What would come twice would come now: a clean stop commits what there is.
            for worker in workers:
                worker.stop()
            followed = follower.stop()
            check(client, source, target, followed, records)
            return f"{records} records counted; {faults.told()}"
        except AssertionError as error:
            raise AssertionError(faults.story(error)) from error
        finally:
            writer.ended.set()
            follower.ended.set()
            for worker in workers:
                worker.end()
            client.close()


def check(client, source, target, followed, records):
    written = client.consume(source)
    wanted = {str(key): [str(number) for number in range(len(range(key, records, KEYS)))] for key in range(KEYS)}
    found = by_key(record["value"].split(":") for record in sorted(written, key=lambda record: record["offset"]))
    for key, numbers in wanted.items():
        difference(found[key], numbers, f"the input of key {key}")
    read = client.consume(target, isolation="read_committed")
    places = sorted((record["partition"], record["offset"], record["key"], record["value"]) for record in read)
    difference(followed, places, "what a reader saw meanwhile")
    counts = by_key((key, value) for _, _, key, value in places)
    for key, numbers in wanted.items():
        difference(counts[key], [f"{at + 1}:{number}" for at, number in enumerate(numbers)], f"the counts of key {key}")
    difference(sorted(counts), sorted(wanted), "keys")
