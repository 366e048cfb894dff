import pytest
from fastapi import FastAPI

from libs.common import topology
from libs.common.clock import new_id
from libs.common.events import MessagePosted, PriorityMessagePosted
from libs.common.testing import counted, eventually
from services.chat.resources import Resources

pytestmark = pytest.mark.integration
WAITING = "thoughtflow_prompts_waiting"


async def test_dead_letters_and_waiting_prompts_are_counted_where_they_are(app: FastAPI) -> None:
    res: Resources = app.state.resources
    letters = await res.brokers.publish.declare_queue(topology.DEAD_LETTERS)
    prompts = await res.brokers.publish.declare_queue(topology.queue("ai", PriorityMessagePosted))
    others = await res.brokers.publish.declare_queue(topology.queue("ai", MessagePosted))
    for queue in (letters, prompts, others):  # no ai takes what other tests announce
        await queue.purge()

    for declared in (topology.DEAD_LETTERS, topology.queue("ai", PriorityMessagePosted)):
        for _ in range(2):
            await res.brokers.publish.publish(b"x", queue=declared.name, message_id=str(new_id()))

    async def are_counted() -> bool:
        await res.backlog.measure()
        await res.backlog.measure_dead_letters()
        found = (
            counted("thoughtflow_dead_letters"),
            counted(WAITING, type=PriorityMessagePosted.TYPE),
            counted(WAITING, type=MessagePosted.TYPE),
        )
        return found == (2, 2, 0)

    await eventually(are_counted)
    for queue in (letters, prompts):
        await queue.purge()
