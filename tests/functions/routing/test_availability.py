import pytest

from events.config import Backend, Config, Secret
from functions.routing.availability import Here, lacking

URL = "https://host/v1"


def lacks(backend: Backend, here: Here) -> str | None:
    return lacking(Config(backends={"b": backend}, models={}), here).get("b")


BY_ENV = Backend(url=URL, api_key=Secret(env="GEMINI_API_KEY"))
BY_FILE = Backend(url=URL, api_key=Secret(file="/run/key"))
BY_GOOGLE = Backend(url=URL, auth="google")
BY_DNS = Backend(dns="engines:8000")
BY_REPLICAS = Backend(replicas=("http://a:1",))


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        (BY_ENV, "GEMINI_API_KEY, which is not set here"),
        (BY_FILE, "the file /run/key, which cannot be read here"),
        (BY_GOOGLE, "Google's credentials, which are not found here: set GOOGLE_APPLICATION_CREDENTIALS"),
        (BY_REPLICAS, None),
        (BY_DNS, None),
        (Backend(url=URL), None),
    ],
)
def test_what_is_missing_is_named(backend: Backend, told: str | None) -> None:
    assert told == lacks(backend, Here(variables=frozenset({"OTHER"}), files=frozenset({"/run/other"})))


@pytest.mark.parametrize("backend", [BY_ENV, BY_FILE, BY_GOOGLE])
def test_with_its_credentials_a_backend_lacks_nothing(backend: Backend) -> None:
    here = Here(variables=frozenset({"GEMINI_API_KEY"}), files=frozenset({"/run/key"}), google=True)
    assert lacks(backend, here) is None
