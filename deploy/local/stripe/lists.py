"""Lists in pages, https://docs.stripe.com/api/pagination."""

from collections.abc import Callable, Mapping

from deploy.local.stripe.errors import JSON
from deploy.local.stripe.objects.wire import listing, public
from deploy.local.stripe.params import Params
from deploy.local.stripe.protocol import Call

# The parameters that every list takes.
PAGE = ("limit", "starting_after", "ending_before", "created")
_EDGES = ("gt", "gte", "lt", "lte")


def page(
    call: Call,
    kind: str,
    url: str,
    *,
    equal: Mapping[str, str | None] | None = None,
    keep: Callable[[JSON], bool] = lambda _: True,
) -> JSON:
    """Return one page of objects, newest first, as the call's `PAGE` parameters ask.

    Args:
        call: the request; its other parameters have been checked.
        kind: of the objects.
        url: of the list.
        equal: paths in the objects and what must be there; None does not matter.
        keep: a further condition.
    """
    params = call.params
    limit = params.integer("limit", low=1, high=100) or 10
    older_than, newer_than = params.text("starting_after"), params.text("ending_before")
    for param, edge in (("starting_after", older_than), ("ending_before", newer_than)):
        if edge is not None:
            call.account.get(kind, edge, param=param)
    wanted = {path: value for path, value in (equal or {}).items() if value is not None}
    created = _created(params)
    found: list[JSON] = []
    for body in call.account.store.scan(kind, wanted, older_than=older_than, newer_than=newer_than):
        if keep(body) and created(body["created"]):
            found.append(body)
        if len(found) > limit:
            break
    data = [public(body) for body in found[:limit]]
    if newer_than is not None:
        data.reverse()
    return listing(data, url, has_more=len(found) > limit)


def _created(params: Params) -> Callable[[int], bool]:
    if isinstance(params.values.get("created"), str):
        exact = params.integer("created")
        return lambda moment: moment == exact
    edges = params.child("created").only(*_EDGES)
    over, least, under, most = (edges.integer(edge) for edge in _EDGES)
    return lambda moment: (
        (over is None or moment > over)
        and (least is None or moment >= least)
        and (under is None or moment < under)
        and (most is None or moment <= most)
    )
