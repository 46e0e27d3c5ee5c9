"""The policy document: what is accepted, in which normal form, and what is refused at which path."""

from pathlib import Path
from typing import Any

import pytest

from farebox.domain.errors import ConfigInvalid
from farebox.domain.policy import Piece, build_policy
from farebox.http.policy_document import SECTIONS, default_policy_document, parse_policy, parse_policy_text
from farebox.http.policy_sections import Section
from tests.support.google import AUDIENCE

EXAMPLE = b"""
providers:
  - slug: anthropic-prod
    type: anthropic
    credential: env:ANTHROPIC_API_KEY
    base_url: https://api.anthropic.com
    models: ["claude-*"]
    prices: {multiplier: 0.9}
  - {slug: bedrock-prod, type: bedrock, region: eu-central-1}
  - {slug: azure-prod, type: azure-openai, credential: "env:AZURE_KEY"}
workspaces:
  - {slug: platform, config: resilient, providers: [anthropic-prod, bedrock-prod], models: ["claude-*"],
     allow_config_override: false}
configs:
  - slug: resilient
    config:
      strategy: {mode: fallback}
      targets: [{provider: "@anthropic-prod"}, {provider: "@bedrock-prod"}]
keys:
  - {name: alice, workspace: platform, user: alice@example.com, metadata: {team: core}, config: resilient}
budgets:
  - {name: platform-month, scope: {workspace: platform}, usd: 500, period: month, alerts: [50, 80, 100]}
  - {name: key-day, scope: {key: "*"}, usd: 20, period: day}
rate_limits:
  - {name: key-rpm, scope: {key: "*"}, requests: 120, per: minute}
"""


def test_the_example_becomes_pieces_in_normal_form() -> None:
    document = parse_policy_text(EXAMPLE)
    assert document.pieces == (
        Piece(
            "provider",
            "anthropic-prod",
            {
                "slug": "anthropic-prod",
                "type": "anthropic",
                "credential": "env:ANTHROPIC_API_KEY",
                "base_url": "https://api.anthropic.com",
                "models": ["claude-*"],
                "prices": {"multiplier": "0.9"},
            },
        ),
        Piece(
            "provider",
            "bedrock-prod",
            {"slug": "bedrock-prod", "type": "bedrock", "credential": "aws", "region": "eu-central-1"},
            1,
        ),
        Piece(
            "provider",
            "azure-prod",
            {"slug": "azure-prod", "type": "azure-openai", "credential": "env:AZURE_KEY"},
            2,
        ),
        Piece(
            "workspace",
            "platform",
            {
                "slug": "platform",
                "config": "resilient",
                "providers": ["anthropic-prod", "bedrock-prod"],
                "models": ["claude-*"],
                "allow_config_override": False,
            },
        ),
        Piece(
            "config",
            "resilient",
            {
                "slug": "resilient",
                "config": {
                    "strategy": {"mode": "fallback"},
                    "targets": [{"provider": "@anthropic-prod"}, {"provider": "@bedrock-prod"}],
                },
            },
        ),
        Piece(
            "key",
            "platform/alice",
            {
                "name": "alice",
                "workspace": "platform",
                "user": "alice@example.com",
                "metadata": {"team": "core"},
                "config": "resilient",
            },
        ),
        Piece(
            "budget",
            "platform-month",
            {"name": "platform-month", "scope": {"workspace": ["platform"]}, "usd": "500", "period": "month"},
        ),
        Piece(
            "budget", "key-day", {"name": "key-day", "scope": {"key": ["*"]}, "usd": "20", "period": "day"}, 1
        ),
        Piece(
            "rate_limit",
            "key-rpm",
            {"name": "key-rpm", "scope": {"key": ["*"]}, "requests": 120, "per": "minute"},
        ),
    )
    assert document.warnings == (
        "providers[2].type: this version does not serve 'azure-openai' and refuses its requests",
    )
    assert document.places[("key", "platform/alice")] == "keys[0]"


def test_organisation_and_contact_become_settings() -> None:
    assert parse_policy({"organisation": "acme", "contact": "#claude-help"}).pieces == (
        Piece("setting", "organisation", {"value": "acme"}),
        Piece("setting", "contact", {"value": "#claude-help"}),
    )


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (b"usd: 0.1", "0.1"),
        (b"usd: '0.10'", "0.1"),
        (b"usd: 0", "0"),
        (b"usd: 4000000", "4000000"),
        (b"usd: 0.000000000001", "0.000000000001"),
        (b"usd: 1e3", "1000"),
        (b"usd: 1.5e-3", "0.0015"),
    ],
)
def test_amounts_are_exact(written: bytes, stored: str) -> None:
    (piece,) = parse_policy_text(b"budgets: [{name: b, period: day, " + written + b"}]").pieces
    assert piece.document["usd"] == stored


def test_floats_of_an_admin_request_are_read_by_their_shortest_digits() -> None:
    (piece,) = parse_policy({"budgets": [{"name": "b", "period": "day", "usd": 0.1}]}).pieces
    assert piece.document == {"name": "b", "period": "day", "usd": "0.1"}


def test_a_config_may_be_the_json_text_that_portkey_exports() -> None:
    (piece,) = parse_policy(
        {"configs": [{"slug": "c", "config": '{"provider": "@p", "weight": 0.5}'}]}
    ).pieces
    assert piece.document == {"slug": "c", "config": {"provider": "@p", "weight": 0.5}}


def test_times_are_kept_in_utc() -> None:
    (piece,) = parse_policy({"keys": [{"name": "k", "expires_at": "2027-01-31T02:00:00+02:00"}]}).pieces
    assert piece.document["expires_at"] == "2027-01-31T00:00:00Z"


def test_whole_numbers_stand_for_their_digits_in_metadata_and_scopes() -> None:
    document = parse_policy_text(
        b"keys: [{name: k, metadata: {cost_center: 4711}}]\n"
        b"budgets: [{name: b, period: day, usd: 1, scope: {metadata.cost_center: [4711, '48*']}}]"
    )
    assert [piece.document for piece in document.pieces] == [
        {"name": "k", "metadata": {"cost_center": "4711"}},
        {"name": "b", "period": "day", "usd": "1", "scope": {"metadata.cost_center": ["4711", "48*"]}},
    ]


def test_the_default_document_is_what_is_built_in() -> None:
    pieces = default_policy_document().pieces
    stored = build_policy(0, [(piece.kind, piece.name, piece.document) for piece in pieces])
    assert stored == build_policy(0, [])


def test_plain_http_is_for_this_machine_or_for_those_who_ask_for_it() -> None:
    urls = ("http://127.0.0.1:9/x", "http://localhost", "http://[::1]:80", "https://a.example")
    providers = [{"slug": f"p{n}", "type": "anthropic", "base_url": url} for n, url in enumerate(urls)]
    asked = {"slug": "q", "type": "anthropic", "base_url": "http://inside.example", "allow_plain_http": True}
    assert len(parse_policy({"providers": [*providers, asked]}).pieces) == 5


BUDGET = {"name": "b", "period": "day", "usd": 1}
PROVIDER = {"slug": "p", "type": "anthropic"}
RATE_LIMIT = {"name": "r", "per": "minute", "requests": 1}
BRAKE = {"name": "b", "session_usd": 20}
UUID = "11111111-2222-3333-4444-555555555555"
FOUNDRY = "type: foundry, resource: ours, credential: 'env:K'"


def one(section: str, fields: dict[str, Any], **changes: Any) -> dict[str, object]:
    merged = {**fields, **changes}
    return {section: [{name: value for name, value in merged.items() if value != "LEFT OUT"}]}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"budget": []}, "budget"),
        ({"budgets": {}}, "budgets"),
        ({"budgets": ["x"]}, "budgets[0]"),
        ([], ""),
        ("text", ""),
        (one("budgets", BUDGET, colour="red"), "budgets[0].colour"),
        (one("budgets", BUDGET, name="LEFT OUT"), "budgets[0].name"),
        (one("budgets", BUDGET, name=5), "budgets[0].name"),
        (one("budgets", BUDGET, name="a/b"), "budgets[0].name"),
        (one("budgets", BUDGET, name="a|b"), "budgets[0].name"),
        (one("budgets", BUDGET, name=""), "budgets[0].name"),
        (one("budgets", BUDGET, name="x" * 129), "budgets[0].name"),
        (one("budgets", BUDGET, period="fortnight"), "budgets[0].period"),
        (one("budgets", BUDGET, period="0d"), "budgets[0].period"),
        (one("budgets", BUDGET, period="14"), "budgets[0].period"),
        (one("budgets", BUDGET, timezone="Mars/Olympus"), "budgets[0].timezone"),
        (one("budgets", BUDGET, timezone="Europe"), "budgets[0].timezone"),
        (one("budgets", BUDGET, timezone="../etc/passwd"), "budgets[0].timezone"),
        (one("budgets", BUDGET, week_starts="someday"), "budgets[0].week_starts"),
        (one("budgets", BUDGET, on_exhausted="maybe"), "budgets[0].on_exhausted"),
        (one("budgets", BUDGET, clamp="yes"), "budgets[0].clamp"),
        (one("budgets", BUDGET, clamp=True, on_exhausted="alert"), "budgets[0]"),
        (one("budgets", BUDGET, alerts=[0]), "budgets[0].alerts[0]"),
        (one("budgets", BUDGET, alerts=[50, 1001]), "budgets[0].alerts[1]"),
        (one("budgets", BUDGET, alerts=[50.5]), "budgets[0].alerts[0]"),
        (one("budgets", BUDGET, usd=-1), "budgets[0].usd"),
        (one("budgets", BUDGET, usd="-0.01"), "budgets[0].usd"),
        (one("budgets", BUDGET, usd="4000000.01"), "budgets[0].usd"),
        (one("budgets", BUDGET, usd="0.0000000000001"), "budgets[0].usd"),
        (one("budgets", BUDGET, usd="ten"), "budgets[0].usd"),
        (one("budgets", BUDGET, usd=True), "budgets[0].usd"),
        (one("budgets", BUDGET, usd=float("inf")), "budgets[0].usd"),
        (one("budgets", BUDGET, usd=float("nan")), "budgets[0].usd"),
        (one("budgets", BUDGET, usd="1e999999999"), "budgets[0].usd"),
        (one("budgets", BUDGET, usd="LEFT OUT"), "budgets[0]"),
        (one("budgets", BUDGET, tokens=5), "budgets[0]"),
        (one("budgets", BUDGET, count=["input"]), "budgets[0]"),
        (one("budgets", BUDGET, usd="LEFT OUT", tokens=1.5), "budgets[0].tokens"),
        (one("budgets", BUDGET, usd="LEFT OUT", tokens=True), "budgets[0].tokens"),
        (one("budgets", BUDGET, usd="LEFT OUT", tokens=-1), "budgets[0].tokens"),
        (one("budgets", BUDGET, usd="LEFT OUT", tokens=1, count=[]), "budgets[0].count"),
        (one("budgets", BUDGET, usd="LEFT OUT", tokens=1, count=["thoughts"]), "budgets[0].count[0]"),
        (one("budgets", BUDGET, scope={"team": "x"}), "budgets[0].scope.team"),
        (one("budgets", BUDGET, scope={"metadata.": "x"}), "budgets[0].scope.metadata."),
        (one("budgets", BUDGET, scope={"user": []}), "budgets[0].scope.user"),
        (one("budgets", BUDGET, scope={"user": ["*", "a"]}), "budgets[0].scope.user"),
        (one("budgets", BUDGET, scope={"user": True}), "budgets[0].scope.user[0]"),
        (one("budgets", BUDGET, scope={"user": ["a", ""]}), "budgets[0].scope.user[1]"),
        (one("budgets", BUDGET, scope="everything"), "budgets[0].scope"),
        ({"budgets": [BUDGET, BUDGET]}, "budgets[1].name"),
        (one("providers", PROVIDER, slug="@p"), "providers[0].slug"),
        (one("providers", PROVIDER, slug="a/b"), "providers[0].slug"),
        (one("providers", PROVIDER, type="skynet"), "providers[0].type"),
        (one("providers", PROVIDER, type="openai"), "providers[0].credential"),
        (one("providers", PROVIDER, credential="sk-ant-secret"), "providers[0].credential"),
        (one("providers", PROVIDER, credential="env:A-B"), "providers[0].credential"),
        (one("providers", PROVIDER, credential="file:"), "providers[0].credential"),
        (one("providers", PROVIDER, credential="aws"), "providers[0]"),
        (one("providers", PROVIDER, base_url="ftp://x"), "providers[0].base_url"),
        (one("providers", PROVIDER, base_url="https://u:p@x"), "providers[0].base_url"),
        (one("providers", PROVIDER, base_url="https://x/?a=1"), "providers[0].base_url"),
        (one("providers", PROVIDER, base_url="https://x/#a"), "providers[0].base_url"),
        (one("providers", PROVIDER, base_url="https://x:99999"), "providers[0].base_url"),
        (one("providers", PROVIDER, base_url="https://x/a b"), "providers[0].base_url"),
        (one("providers", PROVIDER, base_url="https://"), "providers[0].base_url"),
        (one("providers", PROVIDER, base_url="http://inside.example"), "providers[0]"),
        (one("providers", PROVIDER, base_url="http://127.0.0.1.example"), "providers[0]"),
        (one("providers", PROVIDER, models="claude-*"), "providers[0].models"),
        (one("providers", PROVIDER, models=["a\nb"]), "providers[0].models[0]"),
        (one("providers", PROVIDER, prices={"discount": 1}), "providers[0].prices.discount"),
        (one("providers", PROVIDER, prices={"multiplier": 101}), "providers[0].prices"),
        (
            one("providers", PROVIDER, prices={"models": {"m": {"input": 1}}}),
            "providers[0].prices.models.m.output",
        ),
        ({"providers": [PROVIDER, PROVIDER]}, "providers[1].slug"),
        (one("keys", {"name": "k"}, expires_at="tomorrow"), "keys[0].expires_at"),
        (one("keys", {"name": "k"}, expires_at="2027-01-31T00:00:00"), "keys[0].expires_at"),
        (one("keys", {"name": "k"}, metadata={"a": True}), "keys[0].metadata.a"),
        (one("keys", {"name": "k"}, metadata={"a": "x" * 129}), "keys[0].metadata.a"),
        ({"keys": [{"name": "k"}, {"name": "k", "workspace": "default"}]}, "keys[1].name"),
        (one("rate_limits", RATE_LIMIT, requests="LEFT OUT"), "rate_limits[0]"),
        (one("rate_limits", RATE_LIMIT, tokens=1), "rate_limits[0]"),
        (one("rate_limits", RATE_LIMIT, per="month"), "rate_limits[0].per"),
        (one("rate_limits", RATE_LIMIT, per="LEFT OUT"), "rate_limits[0]"),
        (one("rate_limits", RATE_LIMIT, count=["output"]), "rate_limits[0]"),
        (one("rate_limits", RATE_LIMIT, concurrent=1), "rate_limits[0]"),
        (one("rate_limits", {"name": "r", "concurrent": 1}, per="minute"), "rate_limits[0]"),
        (one("rate_limits", {"name": "r", "concurrent": 5_001}), "rate_limits[0].concurrent"),
        (one("brakes", {"name": "b"}), "brakes[0]"),
        (one("brakes", BRAKE, scope={"session": "*"}), "brakes[0].scope"),
        (one("brakes", BRAKE, scope={"agent": "a"}), "brakes[0].scope"),
        (one("brakes", BRAKE, agents_per_session=-1), "brakes[0].agents_per_session"),
        ({"brakes": [BRAKE, BRAKE]}, "brakes[1].name"),
        (one("configs", {"slug": "c", "config": 5}), "configs[0].config"),
        (one("configs", {"slug": "c", "config": "{"}), "configs[0].config"),
        (one("configs", {"slug": "c", "config": "[]"}), "configs[0].config"),
    ],
)
def test_what_is_wrong_is_refused_at_its_path(document: object, path: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_policy(document)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keys: [{name: no}]", "keys[0].name: must be text: quote it"),
        ("keys: [{name: 12}]", "keys[0].name: must be text: quote it"),
        ("keys: [{name: [a]}]", "keys[0].name: must be text"),
        ("keys: all", "keys: must be a list"),
        ("keys: [alice]", "keys[0]: must be an object with fields"),
        ("- alice", "must be an object with fields"),
        ("keys: [{name: a, metadata: [b]}]", "keys[0].metadata: must be an object with fields"),
        (
            "keys: [{name: a, allow_config_override: 1}]",
            "keys[0].allow_config_override: must be true or false",
        ),
        (
            "budgets: [{name: b, period: day, tokens: 1.5}]",
            "budgets[0].tokens: must be a whole number",
        ),
        (
            "budgets: [{name: b, period: day, usd: 5, clamp: true, on_exhausted: alert}]",
            "budgets[0]: clamp makes requests fit; a budget that only alerts refuses none",
        ),
        ("no: 1", "the name 'no' must be text: quote it (line 1)"),
    ],
)
def test_a_wrong_shape_is_told_in_the_words_of_the_file(text: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_policy_text(text.encode())
    assert refused.value.message == message


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"strategy": {"mode": "conditional"}, "targets": [{"provider": "@p"}]}, "strategy.conditions"),
        ({"strategy": {"mode": "best"}, "targets": [{"provider": "@p"}]}, "strategy.mode"),
        ({"strategy": {"mode": "single", "colour": 1}, "targets": [{"provider": "@p"}]}, "strategy.colour"),
        ({"strategy": "single", "targets": [{"provider": "@p"}]}, "strategy"),
        ({"strategy": {"mode": "fallback"}}, "targets"),
        ({"targets": []}, "targets"),
        ({"targets": ["@p"]}, "targets[0]"),
        (
            {"targets": [{"provider": "@p"}, {"targets": [{"provider": "@"}]}]},
            "targets[1].targets[0].provider",
        ),
        ({"targets": [{"provider": 5}]}, "targets[0].provider"),
        ({"targets": [{"provider": "@"}]}, "targets[0].provider"),
        ({"provider": "@p", "override_params": 5}, "override_params"),
        ({"provider": "@p", "override_params": {"model": ""}}, "override_params.model"),
        ({"provider": "@p", "colour": 1}, "colour"),
        ({"provider": "@p", "api_key": "sk-ant-secret"}, "api_key"),
        ({"custom_host": "https://x"}, "custom_host"),
        ({"targets": [{"provider": "@p", "input_guardrails": ["g"]}]}, "targets[0].input_guardrails"),
    ],
)
def test_a_config_that_would_not_be_served_as_written_is_refused(
    config: dict[str, object], path: str
) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_policy({"configs": [{"slug": "c", "config": config}]})
    assert refused.value.path == f"configs[0].config.{path}"
    assert "secret" not in refused.value.message.replace("no secrets", "")


def test_what_a_config_asks_for_in_vain_is_a_warning() -> None:
    config = {"provider": "@p", "cache": "semantic", "strict_open_ai_compliance": True}
    assert parse_policy({"configs": [{"slug": "c", "config": config}]}).warnings == (
        "configs[0].config.cache: 'semantic' looks for exactly the same request, as Portkey does on "
        "/v1/messages",
        "configs[0].config.strict_open_ai_compliance: has no effect on /v1/messages",
    )


def test_a_refusal_lists_every_path() -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_policy({"budgets": [{"nme": "x"}], "keys": [{"name": "/"}]})
    assert refused.value.message == (
        "keys[0].name: must be 1 to 128 letters, digits, spaces or any of '._@+:-', beginning with a letter "
        "or digit\nbudgets[0].name: is required\nbudgets[0].period: is required\n"
        "budgets[0].nme: unknown field"
    )


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    for document in (
        one("providers", PROVIDER, credential="sk-ant-api03-SECRET"),
        one("providers", PROVIDER, base_url="https://user:SECRET@x"),
        one("keys", {"name": "SECRET/x"}),
    ):
        with pytest.raises(ConfigInvalid) as refused:
            parse_policy(document)
        assert "SECRET" not in refused.value.message


def test_the_example_of_the_docs_is_a_sound_document() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    document = parse_policy_text(example.encode())
    assert [piece.name for piece in document.pieces] == [
        "organisation",
        "contact",
        "anthropic-prod",
        "demo",
        "platform",
        "main",
        "platform/alice",
        "platform-month",
        "key-day",
        "key-rpm",
        "runaway",
    ]


@pytest.mark.parametrize("tenant", [UUID, "ours.onmicrosoft.com"])
def test_foundry_may_be_asked_by_an_application_of_entra(tenant: str) -> None:
    settings = f"{FOUNDRY}, tenant_id: {tenant}, client_id: {UUID}"
    document = parse_policy_text(f"providers: [{{slug: azure, {settings}}}]".encode())
    [provider] = [piece.document for piece in document.pieces if piece.name == "azure"]
    assert (provider["tenant_id"], provider["client_id"]) == (tenant, UUID)


def test_every_example_of_the_page_about_providers_is_a_sound_document() -> None:
    page = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
    blocks = [block.partition("```")[0] for block in page.split("```yaml\n")[1:]]
    examples = [text for text in blocks if text.startswith("providers:")]
    kinds = {piece.document["type"] for text in examples for piece in parse_policy_text(text.encode()).pieces}
    assert kinds >= {"bedrock", "foundry", "anthropic-aws", "vertex"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("type: bedrock", "region is required for type 'bedrock', such as eu-central-1"),
        ("type: anthropic, role_arn: 'arn:aws:iam::123456789012:role/x'", "role_arn goes with bedrock and"),
        ("type: bedrock, region: evil.example/x", "region is required for type 'bedrock'"),
        ("type: bedrock, region: eu-west-1, external_id: abc", "external_id goes with a role_arn"),
        ("type: bedrock, region: eu-west-1, role_arn: admin", "role_arn: must be the ARN of a role, such as"),
        ("type: bedrock, region: eu-west-1, endpoint: best", "endpoint"),
        (
            "type: bedrock, region: eu-west-1, inference_profile: mars",
            "inference_profile: 'mars' is not one of global",
        ),
        (
            "type: vertex",
            "region is required for type 'vertex': global, us, eu, or a region such as us-east5",
        ),
        (
            "type: vertex, region: evil.example/x, project: our-project",
            "region is required for type 'vertex'",
        ),
        ("type: bedrock, region: eu-west-\u0663", "region is required for type 'bedrock'"),
        (
            "type: vertex, region: us-east\u0665, project: our-project",
            "region is required for type 'vertex'",
        ),
        (
            "type: vertex, region: eu, project: '\u0663\u0663\u0663\u0663\u0663\u0663'",
            "project: must be the id or the number of a",
        ),
        ("type: vertex, region: us-east5", "type 'vertex' needs project, the id of the Google Cloud project"),
        (
            "type: vertex, region: eu, project: Ours/x",
            "project: must be the id or the number of a",
        ),
        (
            "type: vertex, region: eu, project: our-project, audience: a-pool",
            "audience: must be //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/",
        ),
        (
            "type: vertex, region: eu, project: our-project, service_account: a@b.example",
            "service_account: must be the e-mail of a service account, such as farebox@our-project-123.iam.",
        ),
        (
            f"type: vertex, region: eu, project: our-project, credential: 'env:K', audience: {AUDIENCE}",
            "audience goes with credential 'google'",
        ),
        ("type: bedrock, region: eu-west-1, project: our-project", "project goes with vertex only, not with"),
        ("type: foundry, credential: 'env:K'", "type 'foundry' needs its resource's name, or a base_url"),
        (f"{FOUNDRY}, tenant_id: ours.example", "tenant_id and client_id go together"),
        (f"{FOUNDRY}, client_id: {UUID}", "tenant_id and client_id go together"),
        (f"{FOUNDRY}, tenant_id: common, client_id: {UUID}", "tenant_id: must be the id of a tenant or"),
        (
            f"{FOUNDRY}, tenant_id: 'a/../b.example', client_id: {UUID}",
            "tenant_id: must be the id of a tenant or",
        ),
        (
            f"{FOUNDRY}, tenant_id: ours.example, client_id: our-app",
            "client_id: must be the id of an application",
        ),
        (
            f"type: foundry, resource: r, credential: caller, tenant_id: {UUID}, client_id: {UUID}",
            "credential must say where the secret of client_id is, not 'caller'",
        ),
        ("type: foundry, credential: 'env:K', resource: a.b/c", "resource: must be the name of a resource"),
        ("type: anthropic-aws, region: us-west-2, workspace_id: a b", "workspace_id: must be the id of a"),
        (f"type: demo, tenant_id: {UUID}, client_id: {UUID}", "tenant_id goes with foundry only"),
    ],
)
def test_settings_of_a_cloud_are_checked_before_anything_is_stored(settings: str, message: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_policy_text(f"providers: [{{slug: cloud, {settings}}}]".encode())
    assert message in refused.value.message


@pytest.mark.parametrize("model", [section for _, section in SECTIONS.values()])
def test_every_field_of_a_section_is_in_the_docs(model: type[Section]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    assert [name for name in model.model_fields if f"`{name}`" not in page and f"{name}:" not in page] == []


def test_limits_of_every_kind_and_brakes_become_pieces() -> None:
    document = parse_policy(
        {
            "rate_limits": [
                {
                    "name": "tpm",
                    "scope": {"key": "*"},
                    "tokens": 50_000,
                    "count": ["output"],
                    "per": "minute",
                },
                {"name": "at-once", "concurrent": 10},
            ],
            "brakes": [
                {
                    "name": "runaway",
                    "scope": {"workspace": "platform"},
                    "session_usd": 20,
                    "agent_usd": 0.1,
                    "session_requests_per_minute": 60,
                    "agents_per_session": 25,
                }
            ],
        }
    )
    assert (document.pieces, document.warnings) == (
        (
            Piece(
                "rate_limit",
                "tpm",
                {
                    "name": "tpm",
                    "scope": {"key": ["*"]},
                    "tokens": 50_000,
                    "count": ["output"],
                    "per": "minute",
                },
            ),
            Piece("rate_limit", "at-once", {"name": "at-once", "concurrent": 10}, 1),
            Piece(
                "brake",
                "runaway",
                {
                    "name": "runaway",
                    "scope": {"workspace": ["platform"]},
                    "session_usd": "20",
                    "agent_usd": "0.1",
                    "session_requests_per_minute": 60,
                    "agents_per_session": 25,
                },
            ),
        ),
        (),
    )
