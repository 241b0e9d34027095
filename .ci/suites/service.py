"""For kafka-python's tests: stands in for the module of this name that its source distribution lacks.

Goes to test/service.py. The tests are given a broker that runs; they start none.
"""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def start(self):
        pass

    def stop(self):
        pass

    def dump_logs(self):
        pass

    def is_alive(self):
        return True


class SpawnedService:
    def __init__(self, *_):
        raise RuntimeError("this suite starts no broker")
