"""The pages that a person's browser comes back to from Stripe."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{title}</title>
<style>
body{{font:18px/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:1em}}
</style>
</head>
<body><main><h1>{title}</h1><p>{text}</p></main></body>
</html>
"""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address holds the session's id
}
"""Of every page; nothing on them runs, loads or is sent."""

PRO = _PAGE.format(
    title="You are Pro",
    text="Thank you. Pro is active now; you can close this page and go on chatting.",
    refresh="",
)
WAITING = _PAGE.format(
    title="We are still waiting for the payment",
    text="As soon as Stripe confirms it, Pro becomes active. This page looks again by itself.",
    refresh='<meta http-equiv="refresh" content="5">\n',
)
CANCELLED = _PAGE.format(
    title="Nothing was paid",
    text="You left the checkout and stay on your present plan. You can subscribe at any time.",
    refresh="",
)
RETURNED = _PAGE.format(
    title="That is all",
    text="What you changed counts within seconds. You can close this page and go on chatting.",
    refresh="",
)
