"""What endpoints of several nouns take."""

from typing import Annotated

from fastapi import Depends, Request

from services.billing.resources import Resources


def _resources(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources


Res = Annotated[Resources, Depends(_resources)]
