"""What `check` looks at for ai alone: whether Gemini takes our key and has our models."""

from libs.common.checks import Finding, Findings, fetch, place
from services.ai.settings import Settings

_GOOGLE = "https://generativelanguage.googleapis.com"


async def check(settings: Settings) -> Findings:
    """Ask for each model that the settings name."""
    base = (settings.gemini_base_url or _GOOGLE).rstrip("/")
    headers = {"x-goog-api-key": settings.gemini_api_key.get_secret_value()}
    for model in filter(None, (settings.gemini_model, settings.gemini_fallback_model)):
        answer = await fetch("gemini", f"{base}/v1beta/models/{model}", headers)
        yield answer if isinstance(answer, Finding) else _finding(answer.status_code, base, model)


def _finding(status: int, base: str, model: str) -> Finding:
    where = f"{model} at {place(base)}"
    match status:
        case 200:
            return Finding("gemini", where)
        case 400 | 401 | 403:
            return Finding("gemini", f"{where}: {status}", "It refuses GEMINI_API_KEY: replace it")
        case 404:
            return Finding("gemini", f"{where}: unknown", "Name another model in GEMINI_MODEL")
        case _:
            return Finding("gemini", f"{where}: {status}", "Try again in a minute")
