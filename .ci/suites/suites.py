"""How each project's own tests are listed and run against a broker.

A suite has `name`, `parts` (what `prepare` builds) and three functions: `tests()` gives the names of all its tests that
ask for a broker, `settings(name)` what a test expects of its broker's configuration, and `run(names, bootstrap, logs)`
runs tests and gives {name: (passed, seconds)}; `logs` is a directory for what they print. `hollow` matches the names of those
that return at once for want of what nobody here gives them: they pass nowhere, and may leave the allow-list.
"""

import json
import os
import re
import subprocess
import time
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The broker's version as the tests are told it: with what they may expect of it.
VERSION = "4.0.0"

NO_NAME = re.compile("(?!)")


class Librdkafka:
    """Each number in a process of its own, so that one that hangs or crashes says nothing about the others."""

    parts = ["librdkafka", "kafka"]
    hollow = NO_NAME
    # Seconds for one test; the longest take two minutes on a busy machine.
    limit = 300

    def __init__(self, directory, protocol):
        self.directory, self.kafka, self.protocol = directory / "librdkafka" / "tests", directory / "kafka", protocol
        self.name = "librdkafka" + ("" if protocol == "classic" else f"-{protocol}")

    def _table(self):
        """{name: the rest of its entry} of the table in test.c, without the tests that ask for no broker."""
        source = (self.directory / "test.c").read_text()
        table = source[source.index("struct test tests[]") :]
        entries = re.split(r"\n\s+_TEST\(", table[: table.index("\n};")])[1:]
        named = (re.match(r"(\w+),(.*)", entry, re.DOTALL).groups() for entry in entries)
        return {name: rest for name, rest in named if not re.search(r"TEST_F_(LOCAL|MANUAL)", rest)}

    def tests(self):
        """Their names; for the one that is many in one, the names of its parts: `0081_admin/do_test_CreateTopics`."""
        source = (self.directory / "0081-admin.c").read_text()
        body = source[source.index("static void do_test_apis(") :]
        parts = re.findall(r"^\s+(do_test_\w+)\(", body[: body.index("\n}\n")], re.MULTILINE)
        names = [name for name in self._table() if name != "0081_admin"]
        return sorted(names + [f"0081_admin/{part}" for part in set(parts)])

    def settings(self, name):
        # Some tests want topics with several partitions. Those with two members count on the time that a new group waits
        # for more: three seconds in Kafka.
        settings = ["topics.partitions=4", 'groups.initial_rebalance_delay="3 s"']
        if self._scenario(name) == "noautocreate":
            settings.append("topics.auto_create=false")
        if name == "0077_compaction":
            # It waits for 20 s. What is written with times of long ago would go as often.
            settings.append('cleaning.interval="5 s"')
        return settings

    def _scenario(self, name):
        found = re.search(r'\.scenario = "(\w+)"', self._table()[name.split("/")[0]])
        return found[1] if found else "default"

    def run(self, names, bootstrap, logs):
        """By number: the runner takes no more of a name than that, and tests of one number are in each other's way."""
        # 0059_bsearch has 10 s for up to ten looks, each of which librdkafka delays by a second.
        settings = [f"metadata.broker.list={bootstrap}", "test.timeout.multiplier=2"]
        (logs / "test.conf").write_text("\n".join(settings) + "\n")
        numbers = {}
        for name in names:
            number = name if "/" in name else name.split("_")[0]
            numbers.setdefault(number, []).append(name)
        with ThreadPoolExecutor(6) as pool:
            runs = pool.map(lambda number: self._number(number, numbers[number], bootstrap, logs), numbers)
        return {name: result for run in runs for name, result in run.items()}

    def _number(self, number, names, bootstrap, logs):
        """In the quick mode, with fewer iterations, and in full when that leaves out everything of a test."""
        results = self._once(number, names, bootstrap, logs, ["-Q"])
        hollow = [name for name, (_, seconds) in results.items() if seconds == 0]
        if hollow:
            in_full = self._once(number, names, bootstrap, logs, [])
            results |= {name: in_full[name] for name in hollow}
        # A test that took no time has left out its parts, and calls that a pass.
        return {name: (state == "PASSED" and seconds > 0, seconds) for name, (state, seconds) in results.items()}

    def _once(self, number, names, bootstrap, logs, mode):
        """{name: (state, seconds)} of the report of one process."""
        test, _, part = number.partition("/")
        log = logs / f"{number.replace('/', '.')}.log"
        report = log.with_suffix(".json")
        report.unlink(missing_ok=True)
        environment = os.environ | {
            "TESTS": test,
            "TEST_KAFKA_VERSION": VERSION,
            "TEST_REPORT": str(report),
            "TEST_CONSUMER_GROUP_PROTOCOL": self.protocol,
            "RDKAFKA_TEST_CONF": str(logs / "test.conf"),
            "KAFKA_PATH": str(self.kafka),
            "BROKERS": bootstrap,
            "LD_LIBRARY_PATH": "../src:../src-cpp",
        }
        if part:
            environment["SUBTESTS"] = part
        # Set in CI, this would change how many tests run at one time.
        environment.pop("CI", None)
        with open(log, "w") as out:
            try:
                subprocess.run(
                    ["./test-runner", "-p1", *mode, "-L", "-s", self._scenario(names[0])],
                    cwd=self.directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    timeout=self.limit,
                )
            except subprocess.TimeoutExpired:
                out.write(f"\nnot done after {self.limit} s\n")
        try:
            states = json.loads(report.read_text())["tests"]
        except (OSError, ValueError):
            states = {}
        found = {name: states.get(name.split("/")[0], {"state": "no report", "duration": 1}) for name in names}
        return {name: (state["state"], state["duration"]) for name, state in found.items()}


class Cargo:
    """The integration tests of a crate, one after the other as its authors run them."""

    def __init__(self, directory, name, configured, environment, hollow=NO_NAME):
        self.name, self.parts, self.configured, self.hollow = name, [name], configured, hollow
        self.directory, self.built, self.environment = directory / name, directory / f"{name}.json", environment

    def settings(self, name):
        return self.configured

    def _executables(self):
        """{file: the test that was built of it}, as cargo told when it built them."""
        told = (json.loads(line) for line in self.built.read_text().splitlines() if line.startswith("{"))
        built = [message for message in told if message.get("executable") and message["target"]["kind"] == ["test"]]
        return {message["target"]["name"]: message["executable"] for message in built}

    def tests(self):
        """`file::test` of each file in tests/."""
        listed = []
        for file, executable in sorted(self._executables().items()):
            out = self._run([executable, "--list"], {})
            listed += [f"{file}::{name}" for name in re.findall(r"^(\S+): test$", out.stdout, re.MULTILINE)]
        return listed

    def run(self, names, bootstrap, logs):
        results, executables = {}, self._executables()
        for name in names:
            file, test = name.split("::", 1)
            started = time.monotonic()
            try:
                done = self._run([executables[file], "--exact", test, "--nocapture"], self.environment(bootstrap))
                out, passed = done.stdout + done.stderr, self.passed(name, done)
            except subprocess.TimeoutExpired:
                out, passed = "not done in time", False
            (logs / f"{name.replace('::', '.')}.log").write_text(out)
            results[name] = passed, time.monotonic() - started
        return results

    def passed(self, name, done):
        """A test that returns for want of something says so, at best, and counts as passed for its harness."""
        skipped = self.hollow.search(name) or re.search(r"^skipping\b", done.stderr, re.MULTILINE | re.IGNORECASE)
        return not skipped and done.returncode == 0 and "1 passed" in done.stdout

    def _run(self, command, environment):
        return subprocess.run(
            command,
            cwd=self.directory,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )


class KafkaPython:
    """kafka-python's test/integration, with the fixture for a broker that is already there."""

    name = "kafka-python"
    parts = ["kafka-python"]
    hollow = NO_NAME

    def __init__(self, directory):
        self.directory, self.python = directory / "kafka-python", directory / "python" / "bin" / "python"

    def settings(self, name):
        # What the suite gives to a broker of its own.
        return ["topics.partitions=4", 'groups.min_session_timeout="100 ms"']

    def tests(self):
        done = self._pytest(["--collect-only", "-q", "test/integration"], "127.0.0.1:1")
        return re.findall(r"^test/integration/(\S+::\S.*)$", done.stdout, re.MULTILINE)

    def run(self, names, bootstrap, logs):
        report = logs / "report.xml"
        # That of an earlier run says nothing about this one.
        report.unlink(missing_ok=True)
        chosen = [f"test/integration/{name}" for name in names]
        done = self._pytest(["--timeout=120", f"--junit-xml={report}", *chosen], bootstrap)
        (logs / "pytest.log").write_text(done.stdout + done.stderr)
        results = dict.fromkeys(names, (False, 0.0))
        # Anything but "all passed" and "some failed": it was stopped, or has not run them.
        if done.returncode not in (0, 1):
            return results
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            module, *within = case.get("classname").removeprefix("test.integration.").split(".")
            name = "::".join([f"{module}.py", *within, case.get("name")])
            faults = [case.find(kind) for kind in ("failure", "error", "skipped")]
            results[name] = not any(fault is not None for fault in faults), float(case.get("time"))
        return results

    def _pytest(self, arguments, bootstrap):
        environment = {
            "KAFKA_URI": f"kafka://{bootstrap}",
            "KAFKA_VERSION": "4.3.0",
            # Only asked whether it is there.
            "KAFKA_ROOT": str(self.directory),
        }
        return subprocess.run(
            [self.python, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.directory,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1200,
        )


def all_suites(directory):
    directory = Path(directory).resolve()
    return [
        Librdkafka(directory, "classic"),
        Librdkafka(directory, "consumer"),
        Cargo(
            directory,
            "rdkafka",
            ["topics.partitions=3"],
            lambda bootstrap: {"KAFKA_HOST": bootstrap, "KAFKA_VERSION": VERSION},
        ),
        Cargo(
            directory,
            "rskafka",
            ["topics.auto_create=false"],
            lambda bootstrap: {"TEST_INTEGRATION": "1", "TEST_BROKER_IMPL": "kafka", "KAFKA_CONNECT": bootstrap},
            # TEST_JAVA_INTEROPT and KAFKA_SASL_CONNECT.
            re.compile(r"_java_|::test_sasl$"),
        ),
        KafkaPython(directory),
    ]
