"""The loop of a driver written in Python: one JSON request a line in, one JSON answer a line out.

A driver makes one client library speak the language of `driver.py`, so that a scenario is written once and run with
every client, and with one client writing what another reads.
"""

import json
import sys
import traceback


def serve(driver):
    """Answers requests until standard input ends. An error is an answer, too: {"error": text}."""
    out = sys.stdout
    # A library that prints must not be taken for an answer.
    sys.stdout = sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        operation = request.pop("op")
        try:
            answer = {"ok": getattr(driver, operation)(**request)}
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def text(value):
    """Keys and values travel as text; null stays null."""
    return None if value is None else value.decode()


def bytes_or_none(value):
    return None if value is None else value.encode()
