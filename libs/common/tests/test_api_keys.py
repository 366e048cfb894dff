import pytest

from libs.common.api_keys import PREFIX, is_well_formed, make_key


def test_a_fresh_key_has_the_form_of_one_and_is_like_no_other() -> None:
    keys = {make_key() for _ in range(1000)}

    assert len(keys) == 1000
    assert all(map(is_well_formed, keys))
    assert {len(key) for key in keys} == {52}


@pytest.mark.parametrize("place", [3, 20, 45, 46, 51])
def test_a_key_with_one_other_character_is_none(place: int) -> None:
    key = make_key()

    typed = key[:place] + ("x" if key[place] != "x" else "y") + key[place + 1 :]

    assert not is_well_formed(typed)


def test_other_texts_are_no_keys() -> None:
    key = make_key()

    texts = ["", PREFIX, key[:-1], key + "0", key + "\n", key.upper(), key.replace(PREFIX, "tg_")]

    assert not any(map(is_well_formed, texts))
