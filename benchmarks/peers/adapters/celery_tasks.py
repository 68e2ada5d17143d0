"""The application a Celery worker loads: the functions of `work`, and the settings its documentation has for reliability."""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-not-found]

from benchmarks.peers import work

app = Celery("peers", broker=os.environ["PEERS_REDIS"], backend=os.environ["PEERS_REDIS"])
app.conf.update(
    task_acks_late=True,  # a task whose worker dies goes to another
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(function, name=name) for name, function in work.FUNCTIONS.items()}
