"""Write the published contracts anew: `python -m tests.contracts.regenerate`.

The diff is the change that other teams will see; `.env.example` is written by hand.
"""

from libs.common.events import ALL_EVENTS
from tests.contracts.asyncapi import asyncapi_text
from tests.contracts.errors import errors_page
from tests.contracts.openapi import public_document
from tests.contracts.postman import collection_text
from tests.contracts.schemas import schema_text
from tests.contracts.tree import ASYNCAPI, ERRORS, EVENTS, POSTMAN


def main() -> None:
    """Write what is generated, and remove the schemas of what is no event any more."""
    EVENTS.mkdir(parents=True, exist_ok=True)
    for stale in EVENTS.glob("*.json"):
        stale.unlink()
    for event in ALL_EVENTS:
        (EVENTS / f"{event.TYPE}.json").write_text(schema_text(event), encoding="utf-8")
    ERRORS.parent.mkdir(parents=True, exist_ok=True)
    ERRORS.write_text(errors_page(), encoding="utf-8")
    ASYNCAPI.write_text(asyncapi_text(), encoding="utf-8")
    POSTMAN.write_text(collection_text(public_document()), encoding="utf-8")


if __name__ == "__main__":
    main()
