"""The sockets between the core and the world. Each is filled under adapters/local, those of the store under
adapters/aws too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from farebox.domain.budget import Budget, Shortage, Standing, Touch
from farebox.domain.budget.alert import Crossing
from farebox.domain.budget.forecast import Spending
from farebox.domain.budget.rate_limit import Draw, Level, LimitUnit
from farebox.domain.config import Policy, ProviderSpec
from farebox.domain.event import Event
from farebox.domain.identity import AdminKey, GatewayKey
from farebox.domain.record import RequestRecord
from farebox.domain.routing.caching import CacheEntry
from farebox.ports.bearer import Credential

Row = TypeVar("Row")

SYSTEM_ACTOR = "farebox"
"""Who an audit row names when no administrator asked for the change."""


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Give the wall clock, UTC."""

    def monotonic_ms(self) -> int:
        """Give a clock that never goes back, for ages; it counts what was slept through."""

    def awake_ms(self) -> int:
        """Give one that stands still while the machine sleeps, for what a stream does meanwhile."""

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait so long while others run."""


class Randomness(Protocol):
    """The only source of unpredictable bytes."""

    def bytes(self, count: int) -> bytes:
        """Give `count` bytes fit for secrets."""


class Secrets(Protocol):
    """Where provider credentials come from."""

    async def resolve(self, reference: str) -> str:
        """Give the secret behind 'env:NAME' or 'file:PATH', freshly enough that a rotation needs no restart.

        Raises `ConfigInvalid` naming the reference (never a value) when there is none.
        """


class Credentials(Protocol):
    """What a request to a provider is sent with, good now."""

    async def of(self, spec: ProviderSpec) -> Credential:
        """Give a provider's own credential. Cheap to call for each attempt.

        Raises `CredentialUnavailable`. Not to be asked for providers with the caller's credential.
        """


class Page(Struct, Generic[Row], frozen=True):
    """One page of a list; `next` is an opaque cursor or None at the end."""

    rows: Sequence[Row]
    next: str | None = None


class Keys(Protocol):
    """Gateway keys and admin keys. Secrets come in as hashes only (`identity.key_hash`)."""

    async def find_gateway_key(self, key_hash: bytes) -> GatewayKey | None:
        """Find the key behind a hash, revoked and expired ones too. A rotated secret is found until its
        overlap ends.

        Raises `StoreFault`.
        """

    async def find_admin_key(self, key_hash: bytes) -> AdminKey | None:
        """Find the admin key behind a hash."""

    async def add_gateway_key(self, key: GatewayKey, key_hash: bytes, *, actor: str = SYSTEM_ACTOR) -> None:
        """Store a new key, with its audit row (as every change here). Raises `Conflict` when the workspace
        has a key of this name that is not revoked.
        """

    async def add_admin_key(self, key: AdminKey, key_hash: bytes, *, actor: str = SYSTEM_ACTOR) -> None:
        """Store a new admin key. Raises `Conflict` for a name in use."""

    async def update_gateway_key(
        self, key: GatewayKey, *, before: GatewayKey | None = None, actor: str = SYSTEM_ACTOR
    ) -> None:
        """Replace everything but the secret (and what is `shown` of it) of the key with this id. Revoking is
        an update too. With `before`, only if the key is still that.

        Raises `NotFound`, and `Conflict` for a name in use, for a key that is not as before and for opening a
        revoked key again: revoking is final.
        """

    async def add_secret(
        self,
        key_id: str,
        key_hash: bytes,
        shown: str,
        old_valid_until: datetime,
        *,
        actor: str = SYSTEM_ACTOR,
    ) -> None:
        """Give a key a new secret in one atomic step; the old ones stop at `old_valid_until`. Raises
        `NotFound`.
        """

    async def get_gateway_key(self, name_or_id: str, workspace: str | None = None) -> GatewayKey:
        """Find by id, or by name (in one workspace, when given).

        A name means the key that is not revoked, else the newest revoked one. Raises `NotFound`, and
        `Conflict` when a name fits keys of several workspaces.
        """

    async def list_gateway_keys(
        self, *, workspace: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[GatewayKey]:
        """List keys by name, revoked ones included."""

    async def revoke_admin_key(self, key_id: str, at: datetime, *, actor: str = SYSTEM_ACTOR) -> None:
        """Revoke an admin key. Raises `NotFound`."""

    async def list_admin_keys(self) -> Sequence[AdminKey]:
        """List admin keys by name, revoked ones included."""


class AuditEntry(Struct, frozen=True):
    """One change by an administrator: documents before and after, None for what was not there. No secret is
    in them.

    `action` is create, update, delete, revoke, rotate, reset or replay; `kind` is gateway_key, admin_key,
    bucket, ledger or a resource's.
    """

    at: datetime
    actor: str
    action: str
    kind: str
    name: str
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None


class Resource(Struct, frozen=True):
    """One piece of policy as stored: `kind` is provider, workspace, config, budget, raise, rate_limit or
    setting.

    `document` is the validated JSON object of the file's section. `position` keeps the file's order.
    `origin` is 'apply' for what a file created, 'admin' for what came through the admin plane, 'builtin' for
    defaults.
    """

    kind: str
    name: str
    document: Mapping[str, object]
    position: int
    origin: str
    updated_at: datetime


class Policies(Protocol):
    """The policy: read as one consistent snapshot, written as one atomic change."""

    async def current(self) -> Policy:
        """Give the policy; cheap to call for each request. Raises `StoreFault`."""

    async def resources(self) -> tuple[int, Sequence[Resource]]:
        """Give the version and every resource, by kind, position and name."""

    async def write(
        self,
        *,
        upserts: Sequence[Resource],
        deletes: Sequence[tuple[str, str]],
        expected_version: int,
        actor: str,
    ) -> int:
        """Change resources in one atomic step with its audit rows, and give the new version.

        A config that says something new becomes a new version of itself in the same step: a resource of its
        own, 'slug@3', which stays when the config goes.

        Raises `Conflict` when the version is no longer the expected one.
        """


class Hold(Struct, frozen=True):
    """What one open request keeps back. `touches` carry the amounts; blocking budgets only.

    `draft` is the record as it would be if the process died now: the sweeper books it.
    """

    request_id: str
    sequence: int
    touches: tuple[Touch, ...]
    lease_until: datetime
    draft: RequestRecord


class Ledger(Protocol):
    """Money. Every method is one atomic step, and repeating it with the same arguments changes nothing.

    All raise `StoreFault` when the store cannot answer.
    """

    async def reserve(self, hold: Hold) -> Shortage | None:
        """Hold every touch, or none and say which bucket is short: `settled + held + amount > limit`."""

    async def top_up(self, hold: Hold) -> Shortage | None:
        """Replace the open hold by this one, whose sequence is one higher; amounts may go either way.

        Only amounts that grow are checked. The old hold stays as it is when one is short.
        """

    async def renew(self, request_id: str, lease_until: datetime) -> None:
        """Move the lease of an open hold."""

    async def void(self, request_id: str) -> None:
        """Give everything back: nothing was sent."""

    async def settle(self, request_id: str, record: RequestRecord, booked: Sequence[Touch]) -> None:
        """Release the hold if one is open, book `booked` (alert-only budgets too) and write the ledger row.

        Never refused by a limit. A second call for the same request changes nothing.
        """

    async def exhaust(self, touches: Sequence[Touch]) -> None:
        """Mark buckets exhausted until their window ends or their limit rises above `touch.budget.limit`."""

    async def expired_holds(self, now: datetime, *, limit: int = 100) -> Sequence[Hold]:
        """Give open holds whose lease has run out, and those of processes that are known to be gone."""


class BucketStanding(Struct, frozen=True):
    """One bucket for a report."""

    budget: Budget
    bucket: str
    window_key: str
    standing: Standing
    is_exhausted: bool = False


class UsageRow(Struct, frozen=True):
    """Sums over ledger rows. `group` is the value grouped by, None where rows lack it. `cache_hits` are
    requests answered from the cache, and `saved_picodollars` what those answers cost when they were new.
    """

    group: str | None
    requests: int
    errors: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    cost_picodollars: int
    charged_picodollars: int
    cache_hits: int = 0
    saved_picodollars: int = 0


class RateLimiter(Protocol):
    """Rate limits. Every method is one atomic step over all draws, called once for a request.

    All raise `StoreFault` when the store cannot answer.
    """

    async def admit(
        self, draws: Sequence[Draw], now: datetime, leases_until: Mapping[LimitUnit, datetime]
    ) -> Sequence[Level]:
        """Draw on every bucket, or on none when a level of the answer is short. Levels are in the order of
        the draws. Members stay until their unit's moment in `leases_until`.
        """

    async def correct(self, draws: Sequence[Draw], at: datetime) -> None:
        """Add each amount, mostly below 0, to what was drawn at `at`, and let members go. What no window
        touches any more stays forgotten.
        """

    async def renew(self, draws: Sequence[Draw], lease_until: datetime) -> None:
        """Move the lease of members that are still there; never back."""


class ResponseCache(Protocol):
    """Answers that are kept for a while. Losing any of them costs money, never truth.

    Both raise `StoreFault` when the store cannot answer.
    """

    async def get(self, key: bytes, now: datetime) -> CacheEntry | None:
        """Give what is kept under a key and not past its time. What cannot be read any more is nothing."""

    async def put(self, key: bytes, entry: CacheEntry) -> bool:
        """Keep an entry in the place of an older one, until `expires_at` or until others need its room; say
        whether there is a place for one of its size at all.
        """


class Reports(Protocol):
    """Reading the ledger for people."""

    async def requests(
        self, *, limit: int = 50, session: str | None = None, cursor: str | None = None
    ) -> Page[RequestRecord]:
        """List ledger rows, newest first."""

    async def usage(
        self, *, by: str, since: datetime | None, until: datetime | None = None
    ) -> Sequence[UsageRow]:
        """Sum rows by key, user, workspace, model, provider, session or metadata.NAME, dearest first.

        Unpriced rows count 0 in `cost_picodollars` and their ceiling in `charged_picodollars`.
        """

    async def standings(self, budgets: Sequence[Budget], now: datetime) -> Sequence[BucketStanding]:
        """Give the current window of every bucket; a budget with one bucket has its row before the first
        request.
        """

    async def reset(self, budget: Budget, bucket: str | None, now: datetime, actor: str) -> int:
        """Start the current window of a bucket (or of all) anew by a correcting entry; give how many were
        reset.
        """

    async def note(self, entry: AuditEntry) -> None:
        """Write an entry of the audit log for what changes no document. Raises `StoreFault`."""

    async def audit(self, *, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """List what administrators changed, newest first."""

    async def verify(self) -> Sequence[str]:
        """Recompute every bucket from ledger rows and open holds; give one line for each drift, none when
        all is well.
        """


class SpendingHistory(Protocol):
    """What buckets have drawn, by the ledger's own rows: where sums of a window do not tell."""

    async def recent(self, since: datetime) -> Mapping[tuple[str, str, str], Spending]:
        """Sum what was booked since a moment by budget, unit and bucket, whatever the window."""

    async def overruns(self, since: datetime | None) -> Mapping[tuple[str, str, str, str], int]:
        """Sum what requests since a moment were booked beyond their holds, in picodollars, by budget, unit,
        bucket and window.
        """


class Drawn(Struct, frozen=True):
    """A bucket as it stands, by the names of the ledger's row. `marked_limit` is the limit up to which it is
    closed.
    """

    budget: str
    unit: str
    bucket: str
    window_key: str
    settled: int
    marked_limit: int | None = None


class Thresholds(Protocol):
    """Which thresholds were crossed: decided once, told at least once."""

    async def drawn(self, request_ids: Sequence[str]) -> Sequence[Drawn]:
        """Give every bucket that these requests were booked on, as it stands now. Raises `StoreFault`."""

    async def decide(self, crossings: Sequence[Crossing]) -> Sequence[Crossing]:
        """Store what nobody had decided before, by `Crossing.identity`, at once; give only that."""

    async def untold(self, *, limit: int = 100) -> Sequence[Crossing]:
        """Give decided crossings that were not delivered yet, oldest first."""

    async def told(self, crossing: Crossing, at: datetime) -> None:
        """Note that everybody has been told."""


class EventBus(Protocol):
    """Past-tense facts for whoever listens behind the request."""

    async def emit(self, event: Event) -> None:
        """Hand an event on. It never raises and never blocks for long: money does not depend on it."""
