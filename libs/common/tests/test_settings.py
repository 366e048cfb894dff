import pytest
from pydantic import ValidationError

from libs.common.settings import MIN_SECRET_LENGTH, BaseServiceSettings


def test_production_refuses_a_secret_that_everybody_knows_however_long_it_is() -> None:
    known = "sk_test_emulator"
    assert len(known) >= MIN_SECRET_LENGTH

    with pytest.raises(ValidationError, match="REDIS_URL"):
        BaseServiceSettings(
            environment="production",
            redis_url=f"redis://:{known}@127.0.0.1/0",
            jwks_url="http://127.0.0.1/jwks.json",
        )
