"""The first admin key of a deployment: made once, for whoever may invoke the admin function itself."""

from __future__ import annotations

from farebox.domain.errors import Conflict
from farebox.http.admin.issue import issue_admin_key
from farebox.ports import Clock, Keys, Randomness

FIRST_NAME = "first"
ACTOR = "bootstrap"


async def first_admin_key(keys: Keys, clock: Clock, randomness: Randomness) -> str:
    """Make the first admin key and give its secret, which is shown once.

    It works again only when every admin key is revoked, so that nobody is locked out for good. Of two calls
    at the same time one wins: the name is taken then. Raises `Conflict` while an admin key opens.
    """
    known = await keys.list_admin_keys()
    opens = next((key for key in known if key.is_valid(clock.now())), None)
    if opens is not None:
        raise Conflict(
            f"This deployment has an admin key already: '{opens.name}', made at "
            f"{opens.created_at:%Y-%m-%dT%H:%M:%SZ}. Whoever has it can make others: `farebox admin-keys`."
        )
    name = FIRST_NAME if not known else f"{FIRST_NAME}-{len(known) + 1}"
    _, secret = await issue_admin_key(name, keys, clock, randomness, actor=ACTOR)
    return secret
