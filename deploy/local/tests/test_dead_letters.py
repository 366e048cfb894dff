"""What becomes of dead letters on a real broker."""

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from deploy.local.letters import DeadLetterError
from deploy.local.tests.burial import IDS, MANY, WORK, Command, bury, count, in_a_process, remaining
from libs.common.broker import make_brokers
from libs.common.clock import new_id
from libs.common.errors import NotFoundError
from libs.common.events import UserRegistered
from libs.common.subscriptions import Subscriptions
from libs.common.testing import eventually
from libs.common.topology import DEAD_LETTERS, EVENTS

pytestmark = pytest.mark.integration


async def test_thirty_listings_and_misses_lose_nothing_and_show_the_oldest_first(
    channel: AbstractChannel, command: Command
) -> None:
    await bury(channel, MANY)

    for _ in range(30):
        _, out = await command("list")
        assert [line.split()[-1] for line in out.splitlines()[1:]] == MANY
        with pytest.raises(DeadLetterError, match="No dead letter has the event id other"):
            await command("show", "other")

    assert sorted(await remaining(channel)) == sorted(MANY)


async def test_a_limit_of_twenty_returns_loses_nothing_either(
    limited: AbstractChannel, command: Command
) -> None:
    await bury(limited, MANY)

    for _ in range(22):
        with pytest.raises(DeadLetterError):
            await command("discard", "other", "--yes")
    for _ in range(15):
        _, out = await command("list")
        assert [line.split()[-1] for line in out.splitlines()[1:]] == MANY

    _, out = await command("show", MANY[0])
    assert WORK in out
    assert "x-attempt: 4" in out
    assert "x-death" in out
    assert sorted(await remaining(limited)) == sorted(MANY)


async def test_a_command_that_is_killed_leaves_every_letter_and_their_order(
    channel: AbstractChannel, rabbitmq_url: str, command: Command
) -> None:
    await bury(channel, MANY)
    code = (
        "import asyncio, os\n"
        "from deploy.local.letters import take_all\n"
        "async def main():\n"
        "    async with take_all(os.environ['RABBITMQ_URL']) as shelf:\n"
        "        print(len(shelf.letters), flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )

    killed = await in_a_process(["-c", code], rabbitmq_url)

    assert (killed.returncode, killed.stdout) == (-9, f"{len(MANY)}\n")

    async def all_back() -> bool:
        return await count(channel, DEAD_LETTERS.name) == len(MANY)

    await eventually(all_back)
    _, out = await command("list")
    assert [line.split()[-1] for line in out.splitlines()[1:]] == MANY


async def test_a_replayed_letter_reaches_the_consumer_that_refused_it(
    channel: AbstractChannel, rabbitmq_url: str, command: Command
) -> None:
    brokers = make_brokers(rabbitmq_url, service="billing", prefetch=5)
    outcomes: list[Exception] = [NotFoundError("not yet")]
    handled: list[UserRegistered] = []

    async def handle(_: None, event: UserRegistered) -> None:
        if outcomes:
            raise outcomes.pop()
        handled.append(event)

    events = Subscriptions("billing", None)
    events.on(UserRegistered, handle)
    brokers.consume.include_router(events.router)
    event, event_id = UserRegistered(user_id=new_id()), str(new_id())

    async with brokers.running():
        await brokers.publish.publish(
            event,
            exchange=EVENTS,
            routing_key=UserRegistered.TYPE,
            message_id=event_id,
            message_type=UserRegistered.TYPE,
            persist=True,
        )

        row = f"{UserRegistered.TYPE}  {WORK}  1         rejected  {event_id}"

        async def listed() -> bool:
            _, out = await command("list")
            return row in out

        assert await eventually(listed)
        code, out = await command("replay", event_id)
        assert (code, f"Sent {event_id} to {WORK}.\n" in out) == (0, True)

        async def arrived() -> bool:
            return handled == [event]

        await eventually(arrived)
    assert await command("list") == (0, "No dead letters.\n")


async def test_a_replay_starts_the_attempts_anew_and_keeps_the_rest(
    channel: AbstractChannel, command: Command
) -> None:
    await bury(channel, IDS, body=b'{"n": 1}')

    assert (await command("replay", IDS[3], IDS[1]))[0] == 0

    work = await channel.get_queue(WORK)
    sent = [await work.get(no_ack=True) for _ in range(2)]
    assert [message.message_id for message in sent] == [IDS[3], IDS[1]]
    for message in sent:
        ours = {k: v for k, v in message.headers.items() if k != "x-delivery-count"}
        assert ours == {"traceparent": "00-ab-cd-01"}
        assert (message.body, message.type) == (b'{"n": 1}', UserRegistered.TYPE)
        assert message.correlation_id == "a request"
        assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert await remaining(channel) == [IDS[0], IDS[2], IDS[4]]


async def test_a_replay_of_all_sends_each_once_the_oldest_first(
    channel: AbstractChannel, command: Command
) -> None:
    await bury(channel, MANY)
    await command("list")

    assert (await command("replay", "--all"))[0] == 0

    work = await channel.get_queue(WORK)
    assert [(await work.get(no_ack=True)).message_id for _ in MANY] == MANY
    assert await count(channel, WORK) == 0
    assert await remaining(channel) == []


async def test_an_event_that_failed_in_two_queues_is_replayed_to_both(
    channel: AbstractChannel, command: Command
) -> None:
    other = await channel.declare_queue("chat.other.v1", exclusive=True)
    await bury(channel, ["twice"])
    await bury(channel, ["twice"], work_queue=other.name)

    assert (await command("replay", "--all"))[0] == 0

    assert await count(channel, WORK) == 1
    assert await count(channel, other.name) == 1
    assert await remaining(channel) == []


async def test_a_letter_for_a_vanished_queue_stays_and_the_others_go(
    channel: AbstractChannel, command: Command
) -> None:
    await bury(channel, ["lost"], work_queue="chat.gone.v1")
    await bury(channel, ["fine"])

    code, out = await command("replay", "--all")

    assert code == 1
    assert "lost stays: there is no queue 'chat.gone.v1' any more" in out
    assert f"Sent fine to {WORK}." in out
    assert await count(channel, WORK) == 1
    assert await remaining(channel) == ["lost"]


async def test_an_unknown_id_is_named_and_stops_no_other(
    channel: AbstractChannel, command: Command
) -> None:
    await bury(channel, ["known"])

    code, out = await command("replay", "unknown", "known")

    assert code == 1
    assert "No dead letter has the event id unknown" in out
    assert await remaining(channel) == []
