"""Whatever the order of calls, by whichever process, this ledger does what the model does."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from farebox.wire.http1 import Http1Transport
from tests.contracts.test_ledger_model import LedgerMachine
from tests.support.builders import FixedClock
from tests.support.dynamo import Deployment, deployed, wing_over
from tests.support.ministack import Ministack
from tests.support.wings import Wing


def machine_on(port: int) -> type[LedgerMachine]:
    """Give the machine of the contract on tables of their own, with two processes that forget at times."""

    class DynamoMachine(LedgerMachine):
        def __init__(self) -> None:
            super().__init__()
            self.transport = Http1Transport()
            self.deployment: Deployment = deployed(port)

        @initialize()
        def open(self) -> None:
            self.processes = [self._process(2), self._process(3)]
            self.wing = self.processes[0]

        @rule(number=st.integers(0, 1))
        def change_process(self, number: int) -> None:
            self.wing = self.processes[number]

        @rule()
        def reopen(self) -> None:
            self.open()

        def teardown(self) -> None:
            self.loop.run_until_complete(self.transport.aclose())
            self.loop.close()
            self.folder.cleanup()

        def _process(self, shards: int) -> Wing:
            clock = FixedClock()
            return wing_over(self.deployment.store(self.transport, clock, shards=shards), clock)

    return DynamoMachine


def test_the_ledger_does_what_the_model_does(ministack: Ministack) -> None:
    run_state_machine_as_test(
        machine_on(ministack.port), settings=settings(max_examples=12, stateful_step_count=25, deadline=None)
    )


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_the_ledger_does_what_the_model_does_at_length(ministack: Ministack) -> None:
    run_state_machine_as_test(
        machine_on(ministack.port), settings=settings(max_examples=50, stateful_step_count=50, deadline=None)
    )
