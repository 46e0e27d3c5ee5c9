"""Settings: defaults, grammar, and the table that the docs show."""

from dataclasses import fields
from pathlib import Path

import pytest

from farebox.compose.settings import VARIABLES, Settings, load_settings, settings_table, variable_name
from farebox.domain.errors import ConfigInvalid

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_nothing_set_is_every_default() -> None:
    assert load_settings({}) == load_settings({"FAREBOX_PING_MS": "", "PATH": "/bin"}) == Settings()


def test_every_variable_is_read() -> None:
    texts = {
        "FAREBOX_URL": "https://admin.example/",
        "FAREBOX_ADMIN_KEY": "fba-x",
        "FAREBOX_GATEWAY_KEY": "fb-x",
        "FAREBOX_DATA": "/srv/farebox",
        "FAREBOX_LOG": "off",
        "FAREBOX_HOLD_LEASE_S": "11",
        "FAREBOX_HOLD_WAIT_MS": "0",
        "FAREBOX_DRAIN_S": "13",
        "FAREBOX_CONNECT_TIMEOUT_MS": "14",
        "FAREBOX_FIRST_BYTE_TIMEOUT_MS": "15",
        "FAREBOX_IDLE_TIMEOUT_MS": "16",
        "FAREBOX_TOTAL_TIMEOUT_MS": "17",
        "FAREBOX_PING_MS": "180",
        "FAREBOX_MAX_BODY_BYTES": "1900",
        "FAREBOX_CACHE_MAX_AGE_S": "60",
        "FAREBOX_CACHE_MAX_BYTES": "0",
        "FAREBOX_WEBHOOK_URL": "https://hooks.example/services/x?y=1",
        "FAREBOX_BUCKET_SHARDS": "16",
        "FAREBOX_TRUSTED_HOSTS": "localhost:11434, *.Models.example",
        "FAREBOX_GOOGLE_ENDPOINT_URL": "https://google.internal.example",
    }
    assert set(texts) == {variable_name(field.name) for field in fields(Settings)}
    assert load_settings(texts) == Settings(
        url="https://admin.example",
        admin_key="fba-x",
        gateway_key="fb-x",
        data="/srv/farebox",
        log="off",
        hold_lease_s=11,
        hold_wait_ms=0,
        drain_s=13,
        connect_timeout_ms=14,
        first_byte_timeout_ms=15,
        idle_timeout_ms=16,
        total_timeout_ms=17,
        ping_ms=180,
        max_body_bytes=1900,
        cache_max_age_s=60,
        cache_max_bytes=0,
        webhook_url="https://hooks.example/services/x?y=1",
        bucket_shards=16,
        trusted_hosts=("localhost:11434", "*.models.example"),
        google_endpoint_url="https://google.internal.example",
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("FAREBOX_PING_MS", "soon", "FAREBOX_PING_MS: must be a whole number from 100 to 86400000"),
        ("FAREBOX_PING_MS", "1e3", "FAREBOX_PING_MS: must be a whole number from 100 to 86400000"),
        ("FAREBOX_DRAIN_S", "-1", "FAREBOX_DRAIN_S: must be a whole number from 0 to 3600"),
        ("FAREBOX_HOLD_LEASE_S", "0", "FAREBOX_HOLD_LEASE_S: must be a whole number from 1 to 3600"),
        ("FAREBOX_LOG", "loud", "FAREBOX_LOG: must be one of json, off"),
        ("FAREBOX_URL", "fba-secret", "FAREBOX_URL: must be an http or https URL"),
        *(
            ("FAREBOX_WEBHOOK_URL", url, "FAREBOX_WEBHOOK_URL: must be an https URL, or http to this machine")
            for url in ("http://hooks.example/x", "ftp://localhost/x", "//hooks.example")
        ),
        *(
            (
                "FAREBOX_WEBHOOK_URL",
                url,
                "FAREBOX_WEBHOOK_URL: must be a plain URL, without a user name or fragment",
            )
            for url in (
                "https://a:b@hooks.example",
                "https://hooks.example/#x",
                "https://",
                "https://x/ü",
                "x",
            )
        ),
        ("FAREBOX_WEBHOOK_URL", "https://hooks.example:x", "FAREBOX_WEBHOOK_URL: must be a URL"),
        (
            "FAREBOX_TRUSTED_HOSTS",
            "a.example,*.com",
            "FAREBOX_TRUSTED_HOSTS: must be hosts with commas between them; one of them "
            "covers a whole top-level domain",
        ),
    ],
)
def test_a_value_that_is_wrong_names_its_variable_and_not_itself(name: str, text: str, told: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        load_settings({name: text})
    assert refused.value.message == told


@pytest.mark.parametrize("url", ["http://localhost:9/x", "http://127.0.0.1/", "http://[::1]:80", "https://h"])
def test_a_webhook_is_https_or_on_this_machine(url: str) -> None:
    assert load_settings({"FAREBOX_WEBHOOK_URL": url}).webhook_url == url


def test_settings_do_not_show_the_admin_key() -> None:
    assert "fba-x" not in repr(Settings(admin_key="fba-x"))


def test_every_setting_has_a_line_in_the_docs() -> None:
    assert list(VARIABLES) == [field.name for field in fields(Settings)]
    assert settings_table() in PAGE.read_text()
