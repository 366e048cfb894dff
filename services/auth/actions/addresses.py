"""How much one network may do."""

from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import utc_now
from libs.common.db import Connection
from services.auth import rules
from services.auth.errors import AddressLimitError
from services.auth.resources import Resources
from services.auth.store import addresses


@dataclass(frozen=True, slots=True)
class Counted:
    """One more in a network's count, which began at `since`; `is_over` if that is one too many."""

    address_hash: bytes
    since: datetime
    is_over: bool

    def ensure_allowed(self) -> None:
        """Refuse what is one too many.

        Raises:
            AddressLimitError: it is.
        """
        if self.is_over:
            retry_at = self.since + rules.ADDRESS_WINDOW
            raise AddressLimitError(retry_after_s=rules.seconds_until(retry_at, utc_now()))


async def count(
    res: Resources, conn: Connection, address: str, *, what: str, limit: int
) -> Counted:
    """Count one more `what` of the address's network; the caller commits and then may refuse.

    Args:
        res: the service's resources.
        conn: where; to raise before its transaction is committed would undo the count.
        address: the client's.
        what: what is counted; each thing has a count of its own.
        limit: how many there may be per `rules.ADDRESS_WINDOW`; 0 for any number.
    """
    address_hash = res.codes.address_hash(rules.network_of(address), counted=what)
    now = utc_now()
    number, since = await addresses.count_address(
        conn, address_hash, now=now, since=now - rules.ADDRESS_WINDOW
    )
    return Counted(address_hash, since, is_over=0 < limit < number)
