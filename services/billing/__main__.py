"""`python -m services.billing [serve|migrate]`."""

from libs.common.service import main
from services.billing.app import create_app
from services.billing.settings import Settings

if __name__ == "__main__":
    main("billing", Settings, create_app)
