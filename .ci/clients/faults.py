"""Processes that are killed with -9 and started again while a reader follows what they write, and what is then checked."""

import collections
import os
import random
import subprocess
import tempfile
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition


class Follower:
    """Reads a topic with read_committed from its beginning on, in a thread of its own, while the broker goes and comes."""

    # What a client says of a broker that is down for a while.
    OF_CRASHES = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}

    def __init__(self, bootstrap, topic, partitions):
        self.records, self.errors, self.ended = [], [], threading.Event()
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "no-group",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "check.crcs": True,
                "fetch.wait.max.ms": 50,
                "log_level": 0,
                "reconnect.backoff.max.ms": 500,
                "error_cb": lambda error: self.fail(error),
            }
        )
        self.consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def fail(self, error):
        if error.code() not in self.OF_CRASHES:
            self.errors.append(str(error))

    def follow(self):
        while not self.ended.is_set():
            message = self.consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                self.fail(message.error())
                continue
            key = message.key().decode() if message.key() is not None else None
            self.records.append((message.partition(), message.offset(), key, message.value().decode()))
        self.consumer.close()

    def stop(self):
        """The records, by place. Fails when the client said more than that the broker was down."""
        self.ended.set()
        self.thread.join(30)
        if self.errors:
            raise AssertionError(f"the reader was told {self.errors}")
        return sorted(self.records)


class Worker:
    """A process that may be killed. One that ends by itself with another status than 0 is started again. Of what it says only
    standard error is kept."""

    # So often a client may give up by itself for each fault, as it does when an answer was lost; more often is no progress.
    GIVES_UP = 4

    def __init__(self, name, command):
        self.name, self.command, self.starts = name, list(map(str, command)), 0
        self.log = tempfile.TemporaryFile(mode="w+")
        self.start()

    def start(self):
        self.starts += 1
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.log)

    def running(self):
        return self.process.poll() is None

    def crash(self):
        """kill -9, and the next process. False when there was nothing to kill."""
        if not self.running():
            return False
        self.end()
        self.start()
        return True

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def stop(self):
        """By SIGTERM: it ends what it has begun."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not stop")

    def revive(self):
        if self.process.poll() not in (None, 0):
            self.process.stdin.close()
            self.start()

    def said(self):
        """The lines of standard error; of one that has ended, as it writes where this reads."""
        self.log.seek(0)
        return self.log.readlines()

    def tail(self):
        return f"{self.name}, started {self.starts} times:\n" + "".join(self.said()[-25:])


class Faults:
    """Which processes go down when, by how far the follower is: so the moments do not depend on the machine's speed."""

    def __init__(self, broker, follower, workers):
        self.broker, self.follower, self.workers = broker, follower, workers
        self.seed = int(os.environ.get("LOGMILL_SEED") or random.randrange(1 << 32))
        self.random, self.hit, self.plan = random.Random(self.seed), collections.Counter(), []

    def fault(self, names):
        # Where in a transaction it is by then is chance.
        time.sleep(self.random.uniform(0, 0.1))
        for name in names:
            if name == "broker":
                self.broker.crash()
                time.sleep(self.random.uniform(0, 1))
                self.broker.start_again()
                self.hit[name] += 1
            else:
                self.hit["worker"] += self.random.choice(self.workers).crash()

    def run(self, total, plan, finished, seconds):
        """`plan` is what goes down, in order, spread over the first four fifths of `total` records of the follower: words of
        "broker" and "worker". Until `finished()`; raises after so many seconds."""
        steps = [(total * 4 * (at + 1) // (5 * (len(plan) + 1)), what.split()) for at, what in enumerate(plan)]
        deadline = time.monotonic() + seconds
        while steps or not finished():
            if time.monotonic() > deadline:
                raise AssertionError(f"not done after {seconds} s, with {len(self.follower.records)} of {total} records")
            if steps and len(self.follower.records) >= steps[0][0]:
                self.fault(steps.pop(0)[1])
            for worker in self.workers:
                worker.revive()
                if worker.starts > (len(plan) + 1) * Worker.GIVES_UP:
                    raise AssertionError(f"{worker.name} does not get on")
            time.sleep(0.01)
        for kind in {word for what in plan for word in what.split()}:
            if not self.hit[kind]:
                raise AssertionError(f"no {kind} was running when it was to be killed")

    def story(self, what):
        """What went wrong, with what all processes said last."""
        said = "".join(self.broker.said[-30:]) if hasattr(self.broker, "said") else ""
        tails = "\n".join(worker.tail() for worker in self.workers)
        return f"{what}; seed {self.seed}\n{tails}\nthe broker:\n{said}"

    def told(self):
        starts = sum(worker.starts for worker in self.workers)
        killed = f"killed the broker {self.hit['broker']} times and a client {self.hit['worker']} times"
        return f"{killed}, {starts} client processes, seed {self.seed}"


def difference(found, wanted, what):
    """Fails and says where two lists first differ."""
    if found == wanted:
        return
    at = next((at for at, pair in enumerate(zip(found, wanted)) if pair[0] != pair[1]), min(len(found), len(wanted)))
    counts = collections.Counter(found)
    twice = sum(count - 1 for count in counts.values())
    missing = len(set(wanted) - set(found))
    raise AssertionError(
        f"{what}: {len(found)} of {len(wanted)}, {missing} missing, {twice} repeated; from {at} on:\n"
        f"  found  {found[at : at + 5]}\n  wanted {wanted[at : at + 5]}"
    )
