"""Eight `farebox serve` on one data folder, as a shared machine might run them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.gateway_process import GatewayProcess
from tests.support.laptop import CREDENTIAL_NAME, PROVIDER_SECRET

PROCESSES = 8
_CREATED = re.compile(r"created key default/(\S+) \(shown once\): (\S+)")


@dataclass(frozen=True, slots=True)
class Gateways:
    """The running processes, the secrets by key name, and the folder that all of them write to."""

    processes: list[GatewayProcess]
    secrets: Mapping[str, str]
    data: Path

    @property
    def ports(self) -> list[int]:
        return [process.port for process in self.processes]


@contextmanager
def eight_gateways(folder: Path, policy: Mapping[str, object]) -> Iterator[Gateways]:
    """Start one, which makes the file, then the rest at once; at the end all of them stop."""
    environment = {CREDENTIAL_NAME: PROVIDER_SECRET, "FAREBOX_HOLD_WAIT_MS": "100", "FAREBOX_DRAIN_S": "1"}
    first = GatewayProcess(folder, config=json.dumps(policy), environment=environment)
    others = [GatewayProcess(folder, environment=environment) for _ in range(PROCESSES - 1)]
    started: list[GatewayProcess] = []

    def start(process: GatewayProcess) -> None:
        process.start()
        started.append(process)

    with ThreadPoolExecutor(PROCESSES) as workers:
        try:
            start(first)
            secrets = dict(_CREATED.findall("".join(first.output)))
            list(workers.map(start, others))
            yield Gateways([first, *others], secrets, first.data)
        finally:
            list(workers.map(GatewayProcess.stop, started))
