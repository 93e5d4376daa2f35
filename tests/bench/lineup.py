"""The gateways that a run can measure. A new one is a class and a row here."""

from tests.bench.gateways import BareRelay, Direct, Gateway, NginxProxy
from tests.bench.platforms import Full, Guarded, Penstock, PenstockCloud, PenstockUnderUvicorn

# Peers (LiteLLM, Portkey, vllm-router, ...) come here, a class each as above. Their programs stay out of
# the repository, in virtual environments below a folder that an environment variable names.
USUAL: tuple[type[Gateway], ...] = (
    Direct,
    NginxProxy,
    BareRelay,
    Penstock,
    Full,
    PenstockUnderUvicorn,
    PenstockCloud,
)
GATEWAYS: dict[str, type[Gateway]] = {kind.name: kind for kind in (*USUAL, Guarded)}
