import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chat import rules

PLAIN = st.text(alphabet=st.characters(exclude_characters="\x01\x02", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(PLAIN, PLAIN)), PLAIN, st.integers(11, 60), st.integers(0, 10))
def test_ranges_tell_where_the_marks_were(
    parts: list[tuple[str, str]], tail: str, length: int, before: int
) -> None:
    marked = "".join(f"{plain}\x01{found}\x02" for plain, found in parts) + tail
    whole = "".join(plain + found for plain, found in parts) + tail

    text, ranges = rules.split_marks(marked, start="\x01", end="\x02", before=before, length=length)

    assert text in whole
    assert len(text) == min(len(whole), length)
    if len(whole) <= length:
        assert [text[a:b] for a, b in ranges] == [found for _, found in parts if found]
    assert all(0 <= a < b <= len(text) for a, b in ranges)
    if any(found for _, found in parts):
        assert ranges


def test_a_long_extract_is_cut_around_what_was_found() -> None:
    marked = "x" * 500 + " \x01tea\x02 " + "y" * 500

    text, ranges = rules.split_marks(marked, start="\x01", end="\x02", before=80, length=400)

    assert len(text) == 400
    assert [text[a:b] for a, b in ranges] == ["tea"]
    assert ranges[0][0] == 80


@pytest.mark.parametrize(
    ("messages", "turns", "question"),
    [
        ([("user", "a")], [], "a"),
        ([("system", "be kind"), ("user", "a")], [], "be kind\n\na"),
        ([("user", "a"), ("assistant", "b"), ("user", "c")], [("a", "b")], "c"),
        (
            [
                *[("system", "s"), ("user", "a"), ("user", "a2"), ("assistant", "b")],
                *[("system", "t"), ("assistant", "b2"), ("user", "c"), ("user", "c2")],
            ],
            [("a\n\na2", "b\n\nb2")],
            "s\n\nt\n\nc\n\nc2",
        ),
    ],
)
def test_a_conversation_becomes_answered_turns_and_a_question(
    messages: list[tuple[str, str]], turns: list[tuple[str, str]], question: str
) -> None:
    assert rules.fold_conversation(messages) == (turns, question)
