"""`python -m services.ai [serve|migrate|check]`."""

from libs.common.service import main
from services.ai.app import create_app
from services.ai.checks import check
from services.ai.settings import Settings

if __name__ == "__main__":
    main("ai", Settings, create_app, more_checks=check)
