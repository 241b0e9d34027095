"""Reads partition directories with Kafka's own DumpLogSegments: it must understand every file and find no fault.

The tool ends with status 0 whatever it finds, so its output is read: each line must be of a kind that stands here.
"""

import itertools
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from driver import CODECS
from scenarios import CONSUMER, await_assignment, fresh, numbered, same

LINES = {
    "file": re.compile(r"Dumping (?P<file>\S+)$"),
    "start": re.compile(r"(Log s|S)tarting offset: \d+$"),
    "batch": re.compile(
        r"baseOffset: (?P<base>\d+) lastOffset: (?P<last>\d+) count: (?P<count>\d+) .*"
        r"isTransactional: (?P<transactional>\w+) isControl: (?P<control>\w+) .*compresscodec: (?P<codec>\w+) .*isvalid: true$"
    ),
    "record": re.compile(r"\| offset: \d+ "),
    "empty index": re.compile(r"\S+\.index is empty\.$"),
    "index entry": re.compile(r"offset: \d+ position: \d+$"),
    "time index entry": re.compile(r"timestamp: \d+ offset: \d+$"),
    "aborted transaction": re.compile(r"version: 0 producerId: \d+ firstOffset: \d+ lastOffset: \d+ lastStableOffset: \d+$"),
    "producer": re.compile(r"producerId: \d+ producerEpoch: \d+ coordinatorEpoch: -?\d+ "),
}
KINDS = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")

TOPIC = "dumped"
TRANSACTIONS, RECORDS = 12, 100

# The kinds of keys in __consumer_offsets: offsets and groups of the classic protocol; and KIP-848's groups, members, targets of
# a group and of a member, current assignments, and regular expressions.
CLASSIC, CONSUMER_PROTOCOL = {1, 2}, {3, 5, 6, 7, 8, 16}


def write(client, java):
    """A topic with many small segments, transactions of both ends and all codecs; groups of both protocols."""
    client.create_topic(TOPIC, 2, {"segment.bytes": "1048576", "index.interval.bytes": "1000"})
    for at in range(TRANSACTIONS):
        records = numbered(RECORDS, 0, f"{at}-{'x' * 3000}")
        client.transaction("dumped", TOPIC, records, "abort" if at % 3 == 0 else "commit")
        client.produce(TOPIC, numbered(RECORDS, 1), codec=CODECS[at % len(CODECS)], idempotent=True)
    for member, settings in ((client, {}), (java, CONSUMER | {"pattern": TOPIC})):
        member.join("dumped", fresh("dumped"), TOPIC, **settings)
        await_assignment([(member, "dumped")], 2)
        member.commit("dumped", TOPIC, [[0, 1, "a note"]])
        member.leave("dumped")


def check_directories(report, data_dir, tools):
    """Checks named `dump: ...` over all partitions of a stopped broker to which `write` had written."""

    def written():
        found, lines = dump(tools, files(data_dir, f"{TOPIC}-0"), "--print-data-log")
        aborted = sum(at % 3 == 0 for at in range(TRANSACTIONS))
        data = [batch for batch in found if batch["control"] == "false"]
        same(sum(int(batch["count"]) for batch in data), TRANSACTIONS * RECORDS, "records in transactions")
        same({batch["transactional"] for batch in found}, {"true"}, "kinds of batches")
        same(sum(batch["control"] == "true" for batch in found), TRANSACTIONS, "markers")
        same(lines["aborted transaction"], aborted, "entries of the transaction index")
        same(lines["record"], TRANSACTIONS * (RECORDS + 1), "records shown")
        same(contiguous(found), TRANSACTIONS * (RECORDS + 1), "offsets")
        for kind in ("index entry", "time index entry", "producer"):
            if not lines[kind]:
                raise AssertionError(f"no {kind} in the whole directory")

    def compressed():
        found, lines = dump(tools, files(data_dir, f"{TOPIC}-1"), "--print-data-log")
        same({batch["codec"] for batch in found}, set(CODECS), "codecs")
        same(lines["record"], TRANSACTIONS * RECORDS, "records shown")
        same(contiguous(found), TRANSACTIONS * RECORDS, "offsets")

    def flipped():
        # A check of this check.
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / f"{0:020}.log"
            held = bytearray((data_dir / f"{TOPIC}-0" / copy.name).read_bytes())
            held[len(held) // 2] ^= 1
            copy.write_bytes(held)
            try:
                dump(tools, [copy])
            except AssertionError:
                return
            raise AssertionError("nobody complained of a flipped bit")

    def everything():
        found = sum(len(dump(tools, paths)[0]) for paths in few_at_a_time(files(data_dir, "")))
        if found < TRANSACTIONS:
            raise AssertionError(f"only {found} batches in the whole data directory")

    def decoded(topic, decoder, key, kinds):
        found, lines = dump(tools, files(data_dir, topic), decoder)
        text = lines["text"]
        if not lines["record"] or lines["record"] != sum(int(batch["count"]) for batch in found):
            raise AssertionError(f"{lines['record']} records shown")
        for line in text:
            # A marker has a key of its own kind; everything else is shown as JSON.
            if "endTxnMarker" not in line and not re.search(r" key: \{\"type\":\"\d+\",\"data\":\{.* payload: [{<]", line):
                raise AssertionError(f"not decoded: {line}")
        if not any(key in line for line in text):
            raise AssertionError(f"no {key} among {len(text)} records")
        found = {int(kind) for line in text for kind in re.findall(r" key: \{\"type\":\"(\d+)\"", line)}
        same(kinds - found, set(), f"kinds of records that are missing among {found}")

    report.check("dump: transactions of both ends, with indexes and snapshots", written)
    report.check("dump: all codecs", compressed)
    report.check("dump: a flipped bit is found", flipped)
    report.check("dump: every file of every partition", everything)
    report.check(
        "dump: __consumer_offsets with its decoder",
        lambda: decoded("__consumer_offsets-", "--offsets-decoder", '"topic":', CLASSIC | CONSUMER_PROTOCOL),
    )
    report.check(
        "dump: __transaction_state with its decoder",
        lambda: decoded("__transaction_state-", "--transaction-log-decoder", '"transactionStatus":"CompleteAbort"', {0}),
    )


def files(data_dir, topic):
    """The files of each partition directory whose name starts like this; the indexes beside their logs."""
    found = [path for path in sorted(data_dir.glob(f"{topic}*/*")) if path.suffix in KINDS]
    if not found:
        raise AssertionError(f"no partition directory {topic}* in {data_dir}")
    return found


def few_at_a_time(paths):
    """Lists of paths that fit into one argument of a command. Files of one directory stay together."""
    few = []
    for _, beside in itertools.groupby(paths, key=lambda path: path.parent):
        beside = list(beside)
        if few and sum(len(str(path)) + 1 for path in few + beside) > 100_000:
            yield few
            few = []
        few += beside
    yield few


def dump(tools, paths, *options):
    """What the tool says of these files: the batches, and how many lines of each kind. Fails at any other line."""
    main = "org.apache.kafka.tools.DumpLogSegments"
    command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{tools}/jars/*", main, *options]
    done = subprocess.run(
        [*command, "--files", ",".join(map(str, paths))], stdin=subprocess.DEVNULL, capture_output=True, timeout=300
    )
    out, said = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    # The tool takes -1 for the offset before a file's first, and so complains of every file that does not start at 0.
    said = re.sub(r"Non-consecutive offsets in \S+/0*(\d+)\.log\n  -1 is followed by \1\n", "", said)
    if done.returncode != 0 or said.strip():
        raise AssertionError(f"DumpLogSegments ended with status {done.returncode}: {said}")
    batches, lines, dumped, strange, text = [], Counter(), [], [], []
    for line in out.split("\n"):
        for kind, shape in LINES.items():
            if found := shape.match(line):
                lines[kind] += 1
                if kind == "batch":
                    batches.append({"file": dumped[-1]} | found.groupdict())
                elif kind == "file":
                    dumped.append(found["file"])
                elif kind == "record":
                    text.append(line)
                break
        else:
            if line:
                strange.append(line)
    if strange:
        raise AssertionError(f"{len(strange)} lines that are no plain content:\n" + "\n".join(strange[:10]))
    same(sorted(dumped), sorted(map(str, paths)), "files that were read")
    return batches, lines | {"text": text}


def contiguous(batches):
    """The number of offsets, when each batch starts where the one before it ended."""
    end = 0
    for batch in batches:
        same(int(batch["base"]), end, f"the first offset of a batch in {batch['file']}")
        end = int(batch["last"]) + 1
    return end
