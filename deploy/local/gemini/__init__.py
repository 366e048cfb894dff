"""A local stand-in for Google's Gemini REST API: same wire protocol, no model behind it.

Faults come by model name (`gemini-3.8-flash--e503`) or by order, for the next matching calls:
`POST /_emulator/faults {"mode": "cut", "times": 2, "match": "words of the last user turn"}`.
`faults.MODES` lists them; `GET /_emulator/requests` tells what was asked and how it ended.
"""
