"""Which backend serves a model."""

from events.config import Config
from events.words import Problem, Record, Refusal


class Route(Record):
    """The decision: the backend, and the name the model has there."""

    backend: str
    served_as: str


def choose(model: str, config: Config) -> Route | Refusal:
    """Picks the backend of a model the caller named."""
    row = config.models.get(model)
    if row is None:
        problem = Problem(
            message=f"The model {model!r} is no longer configured.", code="model_not_found", param="model"
        )
        return Refusal(status=404, problem=problem)
    return Route(backend=row.backend, served_as=row.served_as or model)
