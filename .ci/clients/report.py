"""Named checks: each has one line of output, and what failed is told again at the end."""

import sys
import time
import traceback

from driver import ClientError


class Report:
    """Runs those checks whose name contains one of `names`, or all of them, and keeps count."""

    def __init__(self, names):
        self.names, self.passed, self.failed = names, [], []

    def wants(self, name):
        return not self.names or any(wanted in name for wanted in self.names)

    def check(self, name, what, always=False):
        """A check that is not a failure may say with what it returns what it saw."""
        if not always and not self.wants(name):
            return
        started = time.monotonic()
        try:
            saw = what()
        except Exception as error:
            self.failed.append(name)
            print(f"FAILED {name}: {error}", flush=True)
            if not isinstance(error, (AssertionError, ClientError)):
                traceback.print_exc()
        else:
            self.passed.append(name)
            print(f"ok     {name} ({time.monotonic() - started:.1f} s){f': {saw}' if saw else ''}", flush=True)

    def end(self):
        """Ends the process, with status 1 when a check failed, or when there was none."""
        print(f"{len(self.passed)} passed, {len(self.failed)} failed")
        for name in self.failed:
            print(f"failed: {name}")
        if not self.passed and not self.failed:
            sys.exit("no check has such a name")
        sys.exit(1 if self.failed else 0)
