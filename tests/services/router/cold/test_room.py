"""How long a backend is thought to stay cold, and what becomes of those who wait."""

from collections.abc import Sequence

from events.config import Backend, Config, Fleet, Model, Place
from services.front.limits import Budget
from services.pool.pool import Pool
from services.router.cold.room import ColdRoom
from services.router.order import Order
from services.router.way import Patience, Way

CONFIG = Config(
    backends={"pool": Backend(replicas=("http://e:1", "http://e:2"), fleet=Fleet(slots=2, boot_s=100))},
    models={"m": Model(backend="pool")},
)
PLACE = Place(model="m", backend="pool", served_as="m")


class Waiter:
    held = 0
    gave_up = False

    def __init__(self, log: list["Waiter"], room: ColdRoom) -> None:
        self._log = log
        self._room = room
        self.way = Way(Pool(CONFIG), (PLACE,), _no_order, patience=Patience(own=(PLACE,), hold=True))

    def go_on(self, pool: Pool, config: Config) -> bool:
        picked = pool.pick("pool", model="m")
        if picked is None:
            return False
        picked.replica.in_flight += 1
        self._log.append(self)
        return True

    def give_up(self) -> None:
        self.gave_up = True
        self._room.leave(self)


def _no_order(place: Place) -> Order:
    raise AssertionError(place)


class World:
    """A room, a clock, and a pool whose replicas are put aside."""

    def __init__(self, budget: int = 2**20) -> None:
        self.now = 1000.0
        self.config = CONFIG
        self.pool = Pool(CONFIG)
        self.budget = Budget(budget)
        self.room = ColdRoom(lambda: self.pool, lambda: self.config, self.budget, lambda: self.now)
        self.gone_on: list[Waiter] = []
        self.aside(float("inf"))

    def aside(self, until: float, of: slice = slice(None)) -> None:
        for replica in self.pool.replicas("pool")[of]:
            replica.aside_until = until

    def waits(self, number: int = 1) -> Sequence[Waiter]:
        made = [Waiter(self.gone_on, self.room) for _ in range(number)]
        assert all(self.room.join(one, 10) for one in made)
        return made

    def is_cold_for(self, seconds: float, every_s: float = 1.0) -> None:
        """Somebody asks all the while; then there is an engine."""
        end = self.now + seconds
        while self.now < end:
            self.room.left_s("pool")
            self.now = min(end, self.now + every_s)
        self.aside(0)
        self.room.look()
        self.aside(float("inf"))


def test_until_a_boot_was_measured_it_is_as_long_as_the_document_says() -> None:
    world = World()
    assert 100 == world.room.left_s("pool")
    world.now += 30.5
    assert 70 == world.room.left_s("pool")
    world.now += 100
    assert 10 == world.room.left_s("pool")  # overdue


def test_what_was_measured_takes_its_place() -> None:
    world = World()
    world.is_cold_for(40)
    assert 40 == world.room.left_s("pool")


def test_the_last_boots_weigh_more() -> None:
    world = World()
    for lasted_s in (40, 60):
        world.is_cold_for(lasted_s)
    assert 46 == world.room.left_s("pool")


def test_an_end_that_nobody_saw_teaches_nothing() -> None:
    world = World()
    world.room.left_s("pool")
    world.now += 3600
    world.aside(0)
    world.room.look()
    world.aside(float("inf"))
    assert 100 == world.room.left_s("pool")


def test_whoever_waits_sees_the_end() -> None:
    world = World()
    world.waits()
    for _ in range(60):
        world.now += 1
        world.room.look()
    world.aside(0)
    world.room.look()
    world.aside(float("inf"))
    assert 60 == world.room.left_s("pool")


def test_a_backend_that_is_there_needs_a_second_at_most() -> None:
    world = World()
    world.aside(0, slice(1))
    assert 1 == world.room.left_s("pool") == world.room.left_s("gone")


def test_as_many_go_on_as_there_are_slots_in_the_order_they_came() -> None:
    world = World()
    waiting = world.waits(7)
    world.aside(0)
    world.room.look()
    assert (list(waiting[:4]), 3) == (world.gone_on, world.room.waiting)
    world.pool.replicas("pool")[1].in_flight -= 1
    world.room.let_go()
    assert list(waiting[:5]) == world.gone_on


def test_each_replica_that_is_due_gets_one_as_a_trial() -> None:
    world = World()
    waiting = world.waits(5)
    for replica in world.pool.replicas("pool"):
        replica.put_aside(float("inf"))
        replica.aside_until = 1.0
    world.room.look()
    assert list(waiting[:2]) == world.gone_on


def test_what_they_hold_is_given_back() -> None:
    world = World()
    first, *_ = world.waits(3)
    used = world.budget.used
    world.room.leave(first)
    world.room.leave(first)
    assert (2 * used, 2) == (3 * world.budget.used, world.room.waiting)


def test_without_room_nobody_waits() -> None:
    world = World(budget=100)
    assert not world.room.join(Waiter([], world.room), 10)
    assert (0, 0) == (world.room.waiting, world.budget.used)


def test_where_the_model_is_configured_no_more_it_is_not_waited_for() -> None:
    world = World()
    waiting = world.waits(2)
    world.config = Config(backends={}, models={})
    world.pool = Pool(world.config)
    world.room.look()
    assert [True, True] == [one.gave_up for one in waiting]
    assert (0, 0) == (world.room.waiting, world.budget.used)
