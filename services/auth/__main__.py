"""`python -m services.auth [serve|migrate]`."""

from libs.common.service import main
from services.auth.app import create_app
from services.auth.settings import Settings

if __name__ == "__main__":
    main("auth", Settings, create_app)
