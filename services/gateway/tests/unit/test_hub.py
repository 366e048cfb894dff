from services.gateway.hub import MAX_QUEUED, Listener


def test_a_listener_that_is_behind_keeps_nothing_until_it_has_caught_up() -> None:
    listener = Listener()

    for number in range(MAX_QUEUED * 2):
        listener.push(b"%d" % number)
    kept = listener.take()
    was_behind = [listener.catch_up(), listener.catch_up()]
    listener.push(b"next")

    assert kept == []
    assert was_behind == [True, False]
    assert listener.take() == [b"next"]
