"""Versions of configs are numbered in order, kept as they were, and forgotten from the oldest on."""

from farebox.domain.routing.versions import (
    VERSIONS_KEPT,
    ConfigVersion,
    Document,
    forgotten_versions,
    new_versions,
    versions_of,
)

A: Document = {"provider": "@a"}
B: Document = {"provider": "@b"}


def test_the_first_save_is_version_one() -> None:
    assert new_versions("c", {}, None, A) == [ConfigVersion("c", 1, A)]


def test_a_save_that_says_the_same_makes_no_version() -> None:
    assert new_versions("c", {1: B, 2: A}, A, A) == []


def test_a_save_that_says_what_an_older_version_said_makes_a_new_one() -> None:
    assert new_versions("c", {1: A, 2: B}, B, A) == [ConfigVersion("c", 3, A)]


def test_a_config_from_before_there_were_versions_becomes_the_first() -> None:
    assert new_versions("c", {}, A, B) == [ConfigVersion("c", 1, A), ConfigVersion("c", 2, B)]
    assert new_versions("c", {}, A, A) == [ConfigVersion("c", 1, A)]


def test_the_oldest_are_forgotten_and_their_numbers_never_used_again() -> None:
    known = dict.fromkeys(range(1, VERSIONS_KEPT + 1), A)
    made = new_versions("c", known, A, B)
    assert made == [ConfigVersion("c", VERSIONS_KEPT + 1, B)]
    assert forgotten_versions("c", known, made) == ["c@1"]
    assert forgotten_versions("c", list(known)[:-1], made) == []


def test_what_is_stored_is_read_back_by_slug_and_number() -> None:
    documents: list[Document] = [
        ConfigVersion("c", 1, A).document("root"),
        ConfigVersion("d", 7, B).document("root"),
        {"x": 1},
    ]
    assert versions_of(documents) == {"c": {1: A}, "d": {7: B}}
