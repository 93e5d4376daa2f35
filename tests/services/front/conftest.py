import pytest


@pytest.fixture(scope="session", params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both loops: they differ in what a transport does once it is closing."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}
