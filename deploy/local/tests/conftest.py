import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that uid 65534 may pass through, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="thoughtflow-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
