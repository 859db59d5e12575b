"""Routes are what methods say they are."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from relay.control.caller import OPERATOR, Caller, Scope
from relay.control.calling import Asked, call
from relay.control.route import MethodError, Registry, route
from relay.errors import ForbiddenError, NotFoundError


class Made(msgspec.Struct):
    """What comes out."""

    name: str


class Fruit:
    """A noun."""

    @route("GET", "/fruit/{fruit}", scope=Scope.READ)
    async def show(self, caller: Caller, fruit: int) -> Made:
        """Show a fruit.

        More about
        it.
        """
        return Made(f"{caller.name} {fruit}")

    @route("GET", "/fruit/all", scope=Scope.READ, produces="text/csv")
    async def all_(self, caller: Caller) -> AsyncIterator[bytes]:
        """Give them all."""

        async def pieces() -> AsyncIterator[bytes]:
            yield caller.name.encode()

        return pieces()

    @route("PATCH", "/fruit/{fruit}/{part}", scope=Scope.WRITE)
    async def cut(self, caller: Caller, fruit: int, part: str, body: Made) -> None:
        """Cut it."""
        assert (caller, fruit, part, body.name) == (OPERATOR, 7, "a/b ü", "knife")

    async def not_a_route(self) -> None:
        """Do nothing."""


async def test_what_is_written_out_wins_over_a_parameter() -> None:
    """/fruit/all is no id."""
    registry = Registry([Fruit()])
    assert registry.find("GET", "/api/v1/fruit/all")[0].name == "fruit.all_"
    assert registry.find("GET", "/api/v1/fruit/12")[1] == {"fruit": 12}


async def test_a_route_is_read_from_its_method() -> None:
    """Summary, description, status and types fall out."""
    found, _ = Registry([Fruit()]).find("GET", "/api/v1/fruit/1")
    assert (found.summary, found.description) == ("Show a fruit.", "More about it.")
    assert (found.result, found.parameters, found.status) == (Made, {"fruit": int}, 200)
    assert Registry([Fruit()]).find("PATCH", "/api/v1/fruit/1/x")[0].status == 204


async def test_a_call_reads_path_and_body() -> None:
    """Parts of the path are decoded one by one: a %2F is no separator."""
    asked = Asked(
        method="PATCH",
        path="/api/v1/fruit/7/a%2Fb%20%C3%BC",
        media_type="application/json",
        body=b'{"name":"knife"}',
    )
    answered = await call(Registry([Fruit()]), OPERATOR, asked)
    assert (answered.status, answered.content) == (204, b"")


async def test_the_scope_is_demanded_first() -> None:
    """Before body and query are looked at."""
    reader = Caller(name="reader", scopes=frozenset({Scope.READ}))
    asked = Asked(method="PATCH", path="/api/v1/fruit/7/x", body=b"nonsense")
    with pytest.raises(ForbiddenError):
        await call(Registry([Fruit()]), reader, asked)


@pytest.mark.parametrize(
    "path",
    [
        "/fruit/1",
        "/api/v1/fruit",
        "/api/v1/fruit/",
        "/api/v1/fruit/x",
        "/api/v1/fruit/1/",
        "/api/v1/fruit/1\n",
        "//api/v1/fruit/1",
    ],
)
def test_what_is_no_address(path: str) -> None:
    """Nothing is nearly an address."""
    with pytest.raises(NotFoundError):
        Registry([Fruit()]).find("GET", path)


def test_a_wrong_method_is_told_the_right_ones() -> None:
    """405 with Allow."""
    with pytest.raises(MethodError) as raised:
        Registry([Fruit()]).find("POST", "/api/v1/fruit/1")
    assert raised.value.allow == "GET"


def test_an_address_is_declared_once() -> None:
    """Two objects with the same route are a mistake that stops the start."""
    with pytest.raises(ValueError, match="declared twice"):
        Registry([Fruit(), Fruit()])


def test_a_method_that_does_not_fit_its_path_stops_the_start() -> None:
    """A parameter that nobody fills, or one that nobody takes."""

    class Wrong:
        @route("GET", "/wrong/{there}", scope=Scope.READ)
        async def show(self, caller: Caller, here: int) -> None:
            """Do nothing."""

    with pytest.raises(ValueError, match="do not fit"):
        Registry([Wrong()])
