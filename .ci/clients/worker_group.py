"""A group of our workers runs a pipeline over a cluster, with a windowed aggregate and a join, while workers are killed and join
and input is written: what is committed is what the script says, each row once. Tasks that begin where there are snapshots of them go on
from these; in the end one finds snapshots of another task in their place, and refuses them."""

import collections
import contextlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Producer

import driver
from faults import Faults, Follower, Worker, difference
from scenarios import fresh

PARTITIONS = 3
CUSTOMERS = 18
WINDOW_MS = 10_000
# Output bears the time of its events, and what is old is deleted.
START_MS = (int(time.time()) - 900) * 1000
STEP_MS = 100
RECORDS_A_SECOND = 500

SCRIPT = """
CREATE TABLE orders (
  customer STRING NOT NULL METADATA FROM 'key', number BIGINT, amount BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('topic' = '{orders}', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
CREATE TABLE payments (
  customer STRING NOT NULL METADATA FROM 'key', number BIGINT, paid BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('topic' = '{payments}', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
CREATE TABLE totals (window_start TIMESTAMP(3), customer STRING, orders BIGINT, amount BIGINT)
WITH ('topic' = '{totals}', 'format' = 'json', 'json.timestamp-format.standard' = 'EPOCH-MILLIS');
CREATE TABLE paid (number BIGINT, customer STRING, amount BIGINT, paid BIGINT)
WITH ('topic' = '{paid}', 'format' = 'json');
INSERT INTO totals
SELECT window_start, customer, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, customer;
INSERT INTO paid
SELECT o.number, o.customer, o.amount, p.paid
FROM orders o JOIN payments p
  ON o.customer = p.customer AND o.number = p.number AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '1' MINUTE;
"""


def customer(number):
    return number % CUSTOMERS


def amount(number):
    return number * 31 % 97


def ts(number):
    return START_MS + number * STEP_MS


def is_paid(number):
    return number % 3 != 0


class Writer:
    """Writes orders and their payments evenly, in a thread of its own, and at the end what closes every window."""

    def __init__(self, bootstrap, topics, orders):
        self.topics, self.orders, self.failed, self.ended = topics, orders, [], threading.Event()
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 0})
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def send(self, topic, partition, key, **fields):
        self.producer.produce(self.topics[topic], json.dumps(fields), key=key, partition=partition, on_delivery=self.delivered)
        self.producer.poll(0)

    def write(self):
        started = time.monotonic()
        for number in range(self.orders):
            partition, key = customer(number) % PARTITIONS, f"customer-{customer(number)}"
            self.send("orders", partition, key, number=number, amount=amount(number), ts=ts(number))
            if is_paid(number):
                self.send("payments", partition, key, number=number, paid=amount(number) + 1, ts=ts(number) + 900)
            if self.ended.wait(max(0, started + number / RECORDS_A_SECOND - time.monotonic())):
                return
        for partition in range(PARTITIONS):
            self.send("orders", partition, f"end-{partition}", number=-1, amount=0, ts=ts(self.orders) + 100 * WINDOW_MS)
        self.producer.flush(60)

    def delivered(self, error, _):
        if error is not None:
            self.failed.append(str(error))

    def stop(self):
        self.thread.join(90)
        if self.failed:
            raise AssertionError(f"the writer of the input was told {self.failed[:5]}")


def run(broker, tools, binary, plan, orders, seconds, reach=None):
    """`reach` is how workers reach the cluster, if not as everybody else does."""
    client = driver.start("confluent-kafka", tools, broker.bootstrap)
    topics = {name: fresh(name) for name in ["orders", "payments", "totals", "paid"]}
    for topic in topics.values():
        client.create_topic(topic, PARTITIONS)
    totals = collections.defaultdict(lambda: (0, 0))
    for number in range(orders):
        group = ts(number) // WINDOW_MS * WINDOW_MS, f"customer-{customer(number)}"
        totals[group] = totals[group][0] + 1, totals[group][1] + amount(number)
    follower, workers = Follower(broker.bootstrap, topics["totals"], PARTITIONS), []
    faults = Faults(broker, follower, workers)
    writer, name = Writer(broker.bootstrap, topics, orders), fresh("workers")
    with tempfile.TemporaryDirectory(prefix="logmill-workers-") as directory:
        script = Path(directory) / "orders.sql"
        script.write_text(SCRIPT.format(**topics))
        reach = reach or ["--bootstrap", broker.bootstrap]
        command = [binary, "worker", "run", script, "--name", name, *reach, "--partitioned"]
        # The shortest session that Apache Kafka allows; epochs so small that the killed are mostly in the middle of one.
        command += ["--session-timeout", "6s", "--epoch-interval", "20ms", "--epoch-records", "100"]
        command += ["--snapshot-interval", "4 KiB"]
        # Two are on one machine, the third is somewhere else.
        here, there = (Path(directory) / place / f"logmill-{name}" for place in ["here", "there"])

        def start(what, state, *more):
            workers.append(Worker(what, [*command, "--state-dir", state.parent, *more]))

        try:
            for number in range(2):
                start(f"worker {number}", here)

            def finished():
                if len(workers) == 2 and len(follower.records) >= len(totals) // 2:
                    start("worker 2", there)
                return len(follower.records) >= len(totals)

            faults.run(len(totals), plan, finished, seconds)
            writer.stop()
            wait_for_pairs(client, topics["paid"], orders, 60)
            # What would come twice would come now: a clean stop commits what there is.
            for worker in workers:
                worker.stop()
            followed = follower.stop()
            check(client, topics, followed, totals, orders)
            kept = misplace(here)
            start("the last worker", here, "--bounded")
            used = go_on_to_the_end(workers, kept)
            ends = [(ts(orders) // WINDOW_MS * WINDOW_MS + 100 * WINDOW_MS, f"end-{task}", 1, 0) for task in range(PARTITIONS)]
            difference(windows(client, topics), sorted(rows(totals) + ends), "windows behind a start from snapshots")
            return f"{len(totals)} windows and {len(pairs(orders))} pairs; {used}; {faults.told()}"
        except AssertionError as error:
            raise AssertionError(faults.story(error)) from error
        finally:
            writer.ended.set()
            follower.ended.set()
            for worker in workers:
                worker.end()
            client.close()


def misplace(here):
    """Gives the last task snapshots of the first one in place of its own, as somebody might who copies directories. The tasks that
    have theirs."""
    shutil.rmtree(here / str(PARTITIONS - 1))
    shutil.copytree(here / "0", here / str(PARTITIONS - 1))
    kept = {int(file.parent.name) for file in here.glob("*/*.lms")}
    if kept != set(range(PARTITIONS)):
        raise AssertionError(f"only the tasks {kept} have snapshots")
    return kept - {PARTITIONS - 1}


def go_on_to_the_end(workers, kept):
    """The last worker has all tasks: it begins those from a snapshot that have theirs, and refuses the others."""
    try:
        status = workers[-1].process.wait(60)
    except subprocess.TimeoutExpired:
        status = "nothing"
    begun = {int(line.split(" task=")[1].split()[0]): line for line in workers[-1].said() if "a task begins" in line}
    used = {task for task, line in begun.items() if " snapshot=" in line}
    if status != 0 or len(begun) != PARTITIONS or used != kept:
        raise AssertionError(f"it ended with {status}; of the tasks {kept} have snapshots, and began with {begun}")
    unused = [line for line in workers[-1].said() if "a snapshot is not used" in line]
    if not unused or not all(f"task={PARTITIONS - 1} " in line and "it goes with the changelog" in line for line in unused):
        raise AssertionError(f"not those of another task were refused: {unused}")
    lines = [line for worker in workers for line in worker.said() if "a task begins" in line]
    return f"{sum(' snapshot=' in line for line in lines)} of {len(lines)} times a task began from a snapshot"


def pairs(orders):
    paid = filter(is_paid, range(orders))
    return [(number, f"customer-{customer(number)}", amount(number), amount(number) + 1) for number in paid]


def wait_for_pairs(client, topic, orders, seconds):
    deadline = time.monotonic() + seconds
    while (found := len(client.consume(topic, isolation="read_committed"))) < len(pairs(orders)):
        if time.monotonic() > deadline:
            raise AssertionError(f"{found} of {len(pairs(orders))} pairs were there after {seconds} s")
        time.sleep(0.2)


def check(client, topics, followed, totals, orders):
    read = client.consume(topics["totals"], isolation="read_committed")
    places = sorted((record["partition"], record["offset"], record["key"], record["value"]) for record in read)
    difference(followed, places, "what a reader saw meanwhile")
    difference(windows(client, topics), sorted(rows(totals)), "windows")
    paid = [json.loads(record["value"]) for record in client.consume(topics["paid"], isolation="read_committed")]
    found = [(row["number"], row["customer"], row["amount"], row["paid"]) for row in paid]
    difference(sorted(found), pairs(orders), "pairs")


def rows(totals):
    return [(*group, *counted) for group, counted in totals.items()]


def windows(client, topics):
    found = [json.loads(record["value"]) for record in client.consume(topics["totals"], isolation="read_committed")]
    return sorted((row["window_start"], row["customer"], row["orders"], row["amount"]) for row in found)
