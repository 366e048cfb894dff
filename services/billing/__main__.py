"""`python -m services.billing [serve|migrate|check]`."""

from libs.common.service import main
from services.billing.app import create_app
from services.billing.checks import check
from services.billing.settings import Settings

if __name__ == "__main__":
    main("billing", Settings, create_app, more_checks=check)
