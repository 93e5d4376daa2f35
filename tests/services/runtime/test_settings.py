"""Settings are read once, checked by name, and shown without their secrets."""

import re
from pathlib import Path

import pytest

from events.words import Invalid
from services.runtime.logs import set_up_logs
from services.runtime.settings import (
    HOSTS,
    SECRET,
    Settings,
    default_data_dir,
    described,
    read_settings,
    shown,
)

HOME = {"XDG_DATA_HOME": "/data"}


def test_without_any_the_defaults_hold() -> None:
    settings = read_settings({}, HOME)

    assert Settings(data_dir="/data/penstock") == settings
    assert ("127.0.0.1", 4747) == (settings.host, settings.port)


def test_the_environment_sets_them_and_what_is_given_wins() -> None:
    environment = HOME | {"PENSTOCK_PORT": "1", "PENSTOCK_DRAIN_S": "0.5", "PENSTOCK_ENGINE": "http://a:1"}
    settings = read_settings({"port": 2, "host": None}, environment)

    assert (2, 0.5, "http://a:1", "127.0.0.1") == (
        settings.port,
        settings.drain_s,
        settings.engine,
        settings.host,
    )


def test_an_empty_variable_is_none() -> None:
    assert read_settings({}, HOME | {"PENSTOCK_ENGINE": "", "PENSTOCK_PORT": ""}).engine is None


def test_other_variables_are_nobodys_business() -> None:
    assert read_settings({}, HOME | {"PENSTOCK_UNKNOWN": "x", "PORT": "1"}) == read_settings({}, HOME)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PORT", "http"),
        ("PORT", "-1"),
        ("PORT", "65536"),
        ("METRICS_PORT", "99999"),
        ("DRAIN_S", "soon"),
        ("QUEUE_SLOTS", "1.5"),
        ("MAX_BODY_BYTES", "32M"),
    ],
)
def test_a_value_that_is_not_right_is_told_by_its_name(name: str, text: str) -> None:
    with pytest.raises(Invalid, match=f"^PENSTOCK_{name} is '{text}'; use a (whole )?number from"):
        read_settings({}, HOME | {f"PENSTOCK_{name}": text})


NUMBERS = {setting.name: setting.allowed for setting in described() if setting.allowed.most is not None}
TEXTS = {setting.name for setting in described()} - set(NUMBERS)
CHOICES = {"access_log", "cold", "front", "log_format", "on_meter_outage"}


def refused(name: str, text: object) -> str:
    with pytest.raises(Invalid) as told:
        read_settings({}, HOME | {f"PENSTOCK_{name.upper()}": str(text)})
    return str(told.value)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_bounds_and_is_one(name: str) -> None:
    allowed = NUMBERS[name]
    assert allowed.least is not None
    assert allowed.most is not None
    for text in (allowed.least - 1, allowed.most + 1, "nan", "inf", "-inf", "null", "x", "1" * 5000):
        assert refused(name, text).endswith(f"; use {allowed}.")


def test_a_choice_is_one_of_those_named() -> None:
    assert refused("on_meter_outage", "stop").endswith("; use `refuse` or `serve`.")
    assert "serve" == read_settings({}, {**HOME, "PENSTOCK_ON_METER_OUTAGE": "serve"}).on_meter_outage


def test_the_defaults_are_allowed() -> None:
    given = {setting.name: setting.default for setting in described() if setting.name != "data_dir"}

    assert Settings(data_dir="/data/penstock") == read_settings(given, HOME)


def test_every_setting_is_described_by_a_sentence() -> None:
    assert list(Settings.__struct_fields__) == [setting.name for setting in described()]
    assert [] == [setting.name for setting in described() if not setting.meaning.endswith(".")]


@pytest.mark.parametrize("name", sorted(TEXTS - SECRET - HOSTS - CHOICES))
@pytest.mark.parametrize("text", ["a\nb", "a\udcff", "\x1b[0m"], ids=["lines", "no text", "an escape"])
def test_a_text_is_one_line(name: str, text: str) -> None:
    assert refused(name, text).endswith("; use a line of text.")


@pytest.mark.parametrize("name", sorted(HOSTS))
@pytest.mark.parametrize("text", ["a..b", "x" * 70, ".", "a\nb"])
def test_a_host_is_one_that_could_be_looked_up(name: str, text: str) -> None:
    assert refused(name, text).endswith("; use a host's name or address.")
    assert "::1" == getattr(read_settings({name: "::1"}, HOME), name)


@pytest.mark.parametrize("name", sorted(SECRET))
def test_a_secret_that_is_not_right_is_not_told(name: str) -> None:
    assert f"PENSTOCK_{name.upper()} is not right; use a line of text." == refused(name, "psk_1\npsk_2")


@pytest.mark.parametrize("name", ["host", "data_dir"])
def test_what_is_given_may_not_be_empty(name: str) -> None:
    with pytest.raises(Invalid, match=f"^PENSTOCK_{name.upper()} is ''; use a "):
        read_settings({name: ""}, HOME)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"SILENT_AFTER_S": "9"}, "PROGRESS_EVERY_S is 5; use at most half of PENSTOCK_SILENT_AFTER_S (9)"),
        (
            {"MAX_BODY_BYTES": "3000000", "MAX_HELD_BYTES": "2000000"},
            "MAX_BODY_BYTES is 3000000; use at most PENSTOCK_MAX_HELD_BYTES (2000000)",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_told(given: dict[str, str], told: str) -> None:
    with pytest.raises(Invalid, match=re.escape(told)):
        read_settings({}, HOME | {f"PENSTOCK_{name}": text for name, text in given.items()})


def test_secrets_are_never_shown() -> None:
    settings = read_settings({}, HOME | {"PENSTOCK_API_KEY": "psk_1", "PENSTOCK_ADMIN_KEY": "pak_1"})
    told = shown(settings)

    assert ("***", "***", 4747) == (told["api_key"], told["admin_key"], told["port"])
    assert "psk_1" not in str(told)


def test_data_lies_in_the_home_folder_unless_said_otherwise() -> None:
    assert "/home/me/.local/share/penstock" == default_data_dir({}, lambda: Path("/home/me"))
    assert "/data/penstock" == default_data_dir({"XDG_DATA_HOME": "/data"}, homeless)
    assert "/home/me/.local/share/penstock" == default_data_dir(
        {"XDG_DATA_HOME": "relative"}, lambda: Path("/home/me")
    )


def homeless() -> Path:
    """What `Path.home` does where there is neither HOME nor a user of that number."""
    raise RuntimeError


def test_without_a_home_folder_a_data_folder_has_to_be_named() -> None:
    with pytest.raises(Invalid, match="with --data-dir or PENSTOCK_DATA_DIR"):
        read_settings({}, {}, homeless)

    assert "/d" == read_settings({"data_dir": "/d"}, {}, homeless).data_dir
    assert "/d" == read_settings({}, {"PENSTOCK_DATA_DIR": "/d"}, homeless).data_dir


def test_an_unknown_log_level_is_told_with_those_there_are() -> None:
    with pytest.raises(Invalid, match="use one of debug, info, warning, error, critical"):
        set_up_logs("loud")
