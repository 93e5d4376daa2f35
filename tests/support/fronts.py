"""The front that the tests of endpoints stand behind: ours, or uvicorn where PENSTOCK_TEST_FRONT says so."""

import os
from typing import Literal, cast

from services.front.front import Front
from services.front.under_uvicorn import UvicornFront

KIND = cast(Literal["own", "uvicorn"], os.environ.get("PENSTOCK_TEST_FRONT", "own"))
make_front = UvicornFront if KIND == "uvicorn" else Front
