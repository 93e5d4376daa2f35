"""Settings are read once, checked by name, and shown without their secrets."""

import pytest

from events.words import Invalid
from services.runtime.logs import set_up_logs
from services.runtime.settings import Settings, default_data_dir, read_settings, shown

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
    with pytest.raises(Invalid, match=f"PENSTOCK_{name}: '{text}' is not right"):
        read_settings({}, HOME | {f"PENSTOCK_{name}": text})


def test_secrets_are_never_shown() -> None:
    settings = read_settings({}, HOME | {"PENSTOCK_API_KEY": "psk_1", "PENSTOCK_ADMIN_KEY": "pak_1"})
    told = shown(settings)

    assert ("***", "***", 4747) == (told["api_key"], told["admin_key"], told["port"])
    assert "psk_1" not in str(told)


def test_data_lies_in_the_home_folder_unless_said_otherwise() -> None:
    assert default_data_dir({}).endswith(".local/share/penstock")


def test_an_unknown_log_level_is_told_with_those_there_are() -> None:
    with pytest.raises(Invalid, match="use one of debug, info, warning, error, critical"):
        set_up_logs("loud")
