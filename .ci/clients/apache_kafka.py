"""Apache Kafka itself in place of our broker: the same checks against it are a test of the checks."""

import base64
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=500
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
log.cleaner.backoff.ms=500
log.retention.check.interval.ms=1000
"""


def java(tools, main, *arguments, memory="256m", logging="warn", classes=None):
    """The command that runs one of Kafka's main classes, or one in the directory `classes`."""
    options = [f"-Xmx{memory}", "-XX:TieredStopAtLevel=1", f"-Dorg.slf4j.simpleLogger.defaultLogLevel={logging}"]
    path = f"{tools}/jars/*" if classes is None else f"{classes}:{tools}/jars/*"
    return ["java", *options, "-cp", path, main, *map(str, arguments)]


SECURED = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECURED://127.0.0.1:{secured}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECURED://127.0.0.1:{secured}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURED:SASL_SSL
listener.name.secured.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secured.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secured.ssl.keystore.type=PKCS12
listener.name.secured.ssl.keystore.location={home}/broker.p12
listener.name.secured.ssl.keystore.password={password}
listener.name.secured.connections.max.reauth.ms=5000
"""

CLIENT = """
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location={home}/broker.pem
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
  username="worker" \\
  password="{password}";
"""


class Kafka:
    """One node, in KRaft mode, with these lines of configuration, too. Use as a context manager. With `secured` it has a second
    listener that wants TLS and SCRAM, and wants to be told again every 5 s who a client is: `secured` is its address, and
    `client_config` the properties of a client that it knows."""

    PASSWORD = "a password of the test"

    def __init__(self, tools, name, *lines, secured=False):
        self.tools, self.name, self.lines, self.is_secured = tools, name, lines, secured

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix=f"kafka-{self.name}-")
        home = Path(self.directory.name)
        self.data_dir, self.properties = home / "data", home / "server.properties"
        self.port, controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.log = open(home / "log", "w+")
        properties = PROPERTIES.format(port=self.port, controller=controller, data=self.data_dir)
        # Of two lines for one config the last one counts.
        user = self.secure(home, controller) if self.is_secured else []
        self.properties.write_text(properties + "".join(f"{line}\n" for line in self.lines))
        format_it = java(self.tools, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster_id(), "-c", self.properties, *user)
        subprocess.run(format_it, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, check=True)
        self.process = subprocess.Popen(
            java(self.tools, "kafka.Kafka", self.properties, memory="1g"),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError as error:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.log.seek(0)
                    raise RuntimeError(f"Kafka did not start:\n{self.log.read()}") from error
                time.sleep(0.2)

    def secure(self, home, controller):
        """Makes a certificate, and what a client needs; gives what a user is added with."""
        port = free_port()
        self.secured, self.client_config = f"127.0.0.1:{port}", home / "client.properties"
        store = ["-keystore", home / "broker.p12", "-storetype", "PKCS12", "-storepass", self.PASSWORD, "-alias", "broker"]
        make = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=broker", "-ext", "SAN=ip:127.0.0.1", "-validity", "2"]
        for arguments in [make, ["-exportcert", "-rfc", "-file", home / "broker.pem"]]:
            command = ["keytool", *map(str, arguments), *map(str, store)]
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, check=True)
        names = {"port": self.port, "controller": controller, "secured": port, "home": home, "password": self.PASSWORD}
        self.lines = [*self.lines, SECURED.format(**names)]
        self.client_config.write_text(CLIENT.format(**names))
        return ["--add-scram", f"SCRAM-SHA-512=[name=worker,password={self.PASSWORD}]"]

    def __exit__(self, *_):
        self.stop()
        self.log.close()
        self.directory.cleanup()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def cluster_id():
    """22 characters, the form of Kafka's ids."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
