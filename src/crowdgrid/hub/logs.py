"""The hub's log: one line a record on stderr, as text for people or as JSON for machines.

Secrets never reach it: no module logs a header, a token, a code, an argument of a program or a payload.
"""

from __future__ import annotations

import json
import logging
import sys
import time


class TextLines(logging.Formatter):
    """`12:34:56 warning crowdgrid.hub.api: what happened`."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        text = f"{clock} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(logging.Formatter):
    """One JSON object a line: time (s since the epoch), level, logger, message, and exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def configure(form: str) -> None:
    """Send the log of this process to stderr. `form` is "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("crowdgrid").setLevel(logging.INFO)
    # The server tells of every accepted link at level info: 10,000 nodes make 10,000 lines.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
