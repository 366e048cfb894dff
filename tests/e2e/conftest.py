from collections.abc import AsyncIterator

import pytest

from tests.e2e.crowd import Crowd, paying_people
from tests.e2e.gemini import Gemini
from tests.e2e.person import Person, logged_in
from tests.e2e.stack import Stack


@pytest.fixture(
    scope="session", params=["single", pytest.param("replicated", marks=pytest.mark.chaos)]
)
async def stack(request: pytest.FixtureRequest) -> AsyncIterator[Stack]:
    stack = Stack(request.param)
    try:
        await stack.ready()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
async def person(stack: Stack) -> AsyncIterator[Person]:
    async with logged_in(stack) as someone:
        yield someone


@pytest.fixture
async def stranger(stack: Stack) -> AsyncIterator[Person]:
    async with logged_in(stack) as someone:
        yield someone


@pytest.fixture(scope="session")
async def people(stack: Stack) -> AsyncIterator[list[Person]]:
    async with paying_people(stack) as people:
        yield people


@pytest.fixture
async def crowd(stack: Stack, people: list[Person]) -> Crowd:
    return Crowd(stack, people)


@pytest.fixture
async def gemini(stack: Stack) -> Gemini:
    gemini = Gemini(stack)
    await gemini.forget_calls()
    return gemini
