"""What is broken, and when: a sequence drawn from a seed, each fault at once and without a word."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil
import redis

from tests.chaos.field import BEATS, MAILERS, RENDERERS, Field

#: Seconds from one fault to the next, in the mean; the shortest.
EVERY, AT_LEAST = 3.0, 0.5


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done at a time of the wall clock."""

    kind: str
    at: float


class Faults:
    """Breaks a field, on a thread of its own, from `start` to `stop`."""

    def __init__(self, field: Field, seed: int) -> None:
        self._field = field
        self._chance = random.Random(f"{seed} faults")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults")
        self.done: list[Done] = []
        #: Of each kind, those that met nothing to break, such as a worker that was down already.
        self.missed: Counter[str] = Counter()

    def start(self) -> None:
        """Begin to break things."""
        self._thread.start()

    def stop(self) -> None:
        """Break nothing any more."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        kinds = self._kinds()
        weights = [weight for weight, _ in kinds.values()]
        while not self._ended.wait(max(AT_LEAST, self._chance.expovariate(1 / EVERY))):
            kind = self._chance.choices(list(kinds), weights)[0]
            at = time.time()
            if kinds[kind][1]():
                self.done.append(Done(kind, at))
            else:
                self.missed[kind] += 1

    def _kinds(self) -> dict[str, tuple[float, Callable[[], bool]]]:
        field, chance = self._field, self._chance

        def one_of(names: tuple[str, ...]) -> str:
            return chance.choice(names)

        return {
            "kill -9 beat": (3, lambda: field.kill(one_of(BEATS))),
            "kill -9 capture worker": (2, lambda: field.kill(one_of(RENDERERS), group=True)),
            "kill -9 capture worker's main": (2, lambda: field.kill(one_of(RENDERERS))),
            "kill -9 mail worker": (2, lambda: field.kill(one_of(MAILERS), group=True)),
            "kill -9 mail worker's main": (2, lambda: field.kill(one_of(MAILERS))),
            "kill -9 capture child": (2, lambda: self._child(one_of(RENDERERS))),
            "kill -9 mail child": (3, lambda: self._child(one_of(MAILERS))),
            "kill -9 browser process": (3, self._browser),
            "kill -9 API worker": (2, lambda: self._child("api")),
            "kill -9 API": (1, lambda: field.kill("api", group=True)),
            "Redis FLUSHALL": (3, self._flush),
            "kill -9 Redis": (2, lambda: field.kill("redis")),
            "Postgres immediate restart": (
                2,
                lambda: field.kill("postgres", number=signal.SIGQUIT),
            ),
            "kill -9 Postgres": (2, lambda: field.kill("postgres")),
            "Grafana away": (2, self._grafana),
        }

    def _child(self, name: str) -> bool:
        return self._end(self._field.children(name))

    def _browser(self) -> bool:
        names = list(RENDERERS)
        self._chance.shuffle(names)
        return any(self._end(self._field.below(name, "--type=")) for name in names)

    def _end(self, found: list[psutil.Process]) -> bool:
        if not found:
            return False
        with suppress(psutil.Error):
            self._chance.choice(found).kill()
            return True
        return False

    def _flush(self) -> bool:
        with suppress(redis.RedisError):
            client = redis.Redis.from_url(self._field.redis_url, socket_timeout=2)
            client.flushall()
            client.close()
            return True
        return False

    def _grafana(self) -> bool:
        self._field.keep_down("grafana", self._chance.uniform(1.0, 5.0))
        return self._field.kill("grafana")
