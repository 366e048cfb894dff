"""`python -m services.gateway [serve|check]`."""

from libs.common.service import main
from libs.common.websockets import WEBSOCKETS
from services.gateway.app import create_app
from services.gateway.checks import check
from services.gateway.settings import Settings

if __name__ == "__main__":
    main("gateway", Settings, create_app, more_checks=check, **WEBSOCKETS)
