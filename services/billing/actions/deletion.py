"""The end of a user: first of what they pay, then of what we know."""

import structlog

from libs.common import deleted_users
from libs.common.events import UserDeleted
from services.billing.actions.syncing import SYNC_WAIT_S
from services.billing.errors import BillingUnavailableError, CancellationPendingError
from services.billing.resources import Resources
from services.billing.store import checkouts, customers, grants
from services.billing.store import deletion as store

log = structlog.stdlib.get_logger()


async def forget_user(res: Resources, event: UserDeleted) -> None:
    """Have Stripe cancel at once and forget the customer, then erase our copy.

    In that order: as long as Stripe may charge the user, we know whom to cancel. A second time
    does nothing. Invoices stay with Stripe, who has to keep them; our copies go.

    Raises:
        CancellationPendingError: Stripe gave no usable answer; the event comes until it does.
        StillErasingError: something is still being written; the event comes again.
        TimeoutError: another call to Stripe for the user takes long; the delivery waits.
    """
    user_id = event.user_id
    async with res.db.acquire() as conn:
        await deleted_users.mark(conn, user_id)
    async with res.locks.held(user_id, within_s=SYNC_WAIT_S) as conn:
        await deleted_users.settle(conn)
        customer_id = await customers.stripe_customer_of(conn, user_id)
        if customer_id is not None:
            given = await checkouts.checkout_of(conn, user_id)
            try:
                if given is not None:
                    await res.payments.expire_session(given.session_id)
                await res.payments.delete_customer(customer_id)
            except BillingUnavailableError as exc:
                raise CancellationPendingError(
                    "what the deleted user pays for is not cancelled yet"
                ) from exc
            log.info("customer_deleted")
            await store.mark_customer(conn, user_id, customer_id)
            await deleted_users.settle(conn)  # a webhook may be on its way into the table
            await store.delete_events(conn, customer_id)
        async with conn.transaction():
            await store.delete_subscription(conn, user_id)
            await grants.delete_grants(conn, user_id)
            await store.delete_customer(conn, user_id)
            await deleted_users.delete_events(conn, user_id)
