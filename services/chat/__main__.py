"""`python -m services.chat [serve|migrate|check]`."""

from libs.common.service import main
from services.chat.app import create_app
from services.chat.settings import Settings

if __name__ == "__main__":
    main("chat", Settings, create_app)
