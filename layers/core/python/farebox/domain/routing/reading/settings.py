"""What a node of a config says of its targets, and what it takes over from the nodes above."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from farebox.domain.routing.caching import MAX_AGE_S_MAX
from farebox.domain.routing.hosts import url_fault
from farebox.domain.routing.reading.fields import Fields, whole_number
from farebox.domain.routing.tree import BreakerRule, CacheRule, Params, Retry

ATTEMPTS_MAX = 5
TIMEOUT_MS_MAX = 1_800_000
COOLDOWN_MS_MAX = 86_400_000
PARAMS_MAX = 100
FORWARD_HEADERS_MAX = 20

SEMANTIC = "semantic"
CACHE_MODES = ("simple", SEMANTIC)
RETRY_AFTER = ("use_retry_after_headers", "use_retry_after_header")
# The gateway has read these by the time a target is chosen, or the answer's form hangs on them.
KEPT_PARAMS = ("messages", "stream")
REQUIRED_PARAMS = (*KEPT_PARAMS, "model", "max_tokens")
SECRET_HEADERS = (
    *("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"),
    *("host", "content-length"),
)
SECRET_HEADER_PREFIXES = ("x-farebox-", "x-portkey-", "x-amz-", "x-amzn-", "x-aws-", "x-forwarded-")
ACCOUNT_HEADERS = ("anthropic-workspace-id", "x-goog-user-project")
METADATA_SERVICE_HEADERS = ("metadata", "metadata-flavor", "x-google-metadata-request", "x-identity-header")

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_PARAM_PATH = re.compile(r"[^.\[\]]+(\[([0-9]{1,4}|\*)\])*(\.[^.\[\]]+(\[([0-9]{1,4}|\*)\])*)*")


class Settings(Struct, frozen=True):
    """What holds for every target below a node."""

    retry: Retry = field(default_factory=Retry)
    timeout_ms: int | None = None
    cache: CacheRule | None = None
    model: str | None = None
    params: Params = field(default_factory=Params)
    custom_host: str | None = None
    forward_headers: tuple[str, ...] = ()
    breaker: BreakerRule | None = None


def read_settings(fields: Fields, above: Settings) -> Settings:
    """Read a node's own settings over those from above: overrides and defaults are merged field by field, of
    everything else the nearest wins whole.
    """
    retry, cache, breaker = _retry(fields), _cache(fields), read_breaker(fields)
    timeout_ms = fields.whole("request_timeout", 1, TIMEOUT_MS_MAX)
    custom_host, forwarded = _custom_host(fields), _forward_headers(fields)
    model, params = _params(fields, above)
    return replace(
        above,
        retry=above.retry if retry is None else retry,
        timeout_ms=above.timeout_ms if timeout_ms is None else timeout_ms,
        cache=above.cache if cache is None else cache,
        model=model,
        params=params,
        custom_host=above.custom_host if custom_host is None else custom_host,
        forward_headers=above.forward_headers if forwarded is None else forwarded,
        breaker=above.breaker if breaker is None else breaker,
    )


def forwarded_header_fault(name: str) -> str | None:
    """Say why a header of the client is not for a config to send on; None when it is."""
    lower = name.lower()
    if not _HEADER_NAME.fullmatch(name):
        return "is not the name of a header"
    if lower in SECRET_HEADERS or lower.startswith(SECRET_HEADER_PREFIXES):
        return "is never sent on by a config: it may hold a secret, or belongs to the connection"
    if lower in ACCOUNT_HEADERS:
        return "is never sent on: it says whose account is asked, which is for the provider to say"
    if lower in METADATA_SERVICE_HEADERS:
        return "is never sent on: it opens the metadata service of a cloud"
    return None


def read_breaker(fields: Fields) -> BreakerRule | None:
    """Read `cb_config`, which Portkey has in a node and in its strategy."""
    inner = fields.inner("cb_config")
    if inner is None:
        return None
    threshold = inner.whole("failure_threshold", 1, 1_000_000)
    percent = inner.whole("failure_threshold_percentage", 1, 100)
    minimum = inner.whole("minimum_requests", 1, 1_000_000)
    cooldown_ms = inner.whole("cooldown_interval", 1_000, COOLDOWN_MS_MAX)
    statuses = inner.statuses("failure_status_codes")
    inner.close()
    if threshold is None and percent is None:
        inner.error("", "needs failure_threshold or failure_threshold_percentage")
    default = BreakerRule()
    return BreakerRule(
        failure_threshold=threshold,
        failure_threshold_percent=percent,
        minimum_requests=default.minimum_requests if minimum is None else minimum,
        cooldown_ms=default.cooldown_ms if cooldown_ms is None else cooldown_ms,
        failure_statuses=statuses,
    )


def _retry(fields: Fields) -> Retry | None:
    inner = fields.inner("retry")
    if inner is None:
        return None
    attempts = inner.whole("attempts", 0, ATTEMPTS_MAX)
    statuses = inner.statuses("on_status_codes")
    heeds = [flag for name in RETRY_AFTER if (flag := inner.flag(name)) is not None]
    if attempts is None and not inner.has("attempts") and not inner.left():
        inner.error("attempts", f"is required: how often to try again, up to {ATTEMPTS_MAX}")
    inner.close()
    if len(set(heeds)) > 1:
        inner.error(RETRY_AFTER[1], f"says otherwise than {RETRY_AFTER[0]}; one of the two is enough")
    default = Retry()
    return Retry(
        attempts=attempts or 0,
        statuses=default.statuses if statuses is None else statuses,
        heeds_retry_after=heeds[0] if heeds else default.heeds_retry_after,
    )


def _cache(fields: Fields) -> CacheRule | None:
    value = fields.take("cache")
    if value is None:
        return None
    if isinstance(value, str):
        if value in CACHE_MODES:
            _tell_semantic(fields, "cache", value)
            return CacheRule(value)
        fields.error("cache", f"must be an object, or one of {', '.join(CACHE_MODES)}")
        return None
    inner = fields.inner("cache")
    if inner is None:
        return None
    mode, max_age_s = inner.text("mode"), inner.whole("max_age", 1, MAX_AGE_S_MAX)
    is_shared = inner.flag("across_workspaces") or False
    inner.close()
    if mode not in CACHE_MODES:
        inner.error("mode", f"must be one of {', '.join(CACHE_MODES)}")
        return None
    _tell_semantic(inner, "mode", mode)
    return CacheRule(mode, max_age_s, is_shared)


def _tell_semantic(fields: Fields, name: str, mode: str) -> None:
    if mode == SEMANTIC:
        fields.warn(name, "'semantic' looks for exactly the same request, as Portkey does on /v1/messages")


def _custom_host(fields: Fields) -> str | None:
    url = fields.text("custom_host", 2_048)
    fault = None if url is None else url_fault(url)
    if fault is not None:
        fields.error("custom_host", fault)
    return url


def _forward_headers(fields: Fields) -> tuple[str, ...] | None:
    value = fields.take("forward_headers")
    if isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        fields.error(
            "forward_headers", "sends headers on by their names; renaming ({from, to}) is not served"
        )
        return None
    names = fields.texts("forward_headers")
    if names is None:
        return None
    if len(names) > FORWARD_HEADERS_MAX:
        fields.error("forward_headers", f"must be at most {FORWARD_HEADERS_MAX} names")
    for index, name in enumerate(names):
        fault = forwarded_header_fault(name)
        if fault is not None:
            fields.error(f"forward_headers[{index}]", f"'{name}' {fault}")
    return tuple(name.lower() for name in names)


def _params(fields: Fields, above: Settings) -> tuple[str | None, Params]:
    """Read what is changed in the body: the model apart from the rest, since it decides where to go."""
    default = _changed(fields, "default_params")
    override = _changed(fields, "override_params")
    model = override.pop("model", None)
    if model is not None and not _is_model(model):
        fields.error("override_params.model", "must be a model's name, or @provider/model")
        model = None
    drop = fields.texts("drop_params")
    for index, path in enumerate(drop or ()):
        if not _PARAM_PATH.fullmatch(path):
            fields.error(
                f"drop_params[{index}]", "must be a path such as metadata.user_id or tools[*].strict"
            )
        elif re.split(r"[.\[]", path)[0] == path and path in REQUIRED_PARAMS:
            fields.error(f"drop_params[{index}]", f"'{path}' is needed by every request")
    return str(model) if model else above.model, Params(
        default={**above.params.default, **default},
        override={**above.params.override, **override},
        drop=above.params.drop if drop is None else drop,
    )


def _changed(fields: Fields, name: str) -> dict[str, object]:
    inner = fields.inner(name)
    value = fields.take(name)
    if inner is None or not isinstance(value, Mapping):
        return {}
    if len(value) > PARAMS_MAX:
        fields.error(name, f"must have at most {PARAMS_MAX} fields")
    for kept in KEPT_PARAMS:
        if kept in value:
            inner.error(kept, "is the caller's to say; a config cannot set it")
    limit = value.get("max_tokens")
    if limit is not None and (whole_number(limit) or 0) < 1:
        inner.error("max_tokens", "must be a whole number above 0")
    return dict(value)


def _is_model(value: object) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= 256 or not value.isprintable():
        return False
    slug, _, model = value.partition("/")
    return not value.startswith("@") or (len(slug) > 1 and bool(model))
