"""Exact answers to small sums, so that a demo has something true to say."""

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

_LEAD = re.compile(r"^(?:please|can you|what(?:'s| is)|how much is|calculate|compute|solve)\s+")
_WORDS = (
    (re.compile(r"(\d(?:[\d.]*\d)?)\s*(?:%|percent) of\b"), r"\1 / 100 *"),
    (re.compile(r"\bplus\b"), "+"),
    (re.compile(r"\bminus\b|\N{MINUS SIGN}"), "-"),
    (re.compile(r"\b(?:times|multiplied by)\b|\N{MULTIPLICATION SIGN}|(?<=\d)\s*x\s*(?=\d)"), "*"),
    (re.compile(r"\b(?:divided by|over)\b|\N{DIVISION SIGN}"), "/"),
)
_SUM = re.compile(r"[\d.\s()+*/-]{3,80}")
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def answer(question: str) -> str | None:
    """Work out a question that is nothing but a sum, such as "what is 15% of 80?".

    Returns:
        The sum and its result, or None when the question is something else.
    """
    sum_ = question.strip().casefold().rstrip("?=.! ")
    while (shorter := _LEAD.sub("", sum_)) != sum_:
        sum_ = shorter
    for pattern, sign in _WORDS:
        sum_ = pattern.sub(sign, sum_)
    if not _SUM.fullmatch(sum_) or not re.search(r"\d\s*\)*\s*[+*/-]", sum_):
        return None
    try:
        result = _value(ast.parse(sum_.strip(), mode="eval").body)
    except ZeroDivisionError:
        return "That divides by zero, so it has no answer."
    except (SyntaxError, ValueError):
        return None
    return f"{' '.join(sum_.split())} = **{_show(result)}**."


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case _:
            raise ValueError(f"not plain arithmetic: {ast.dump(node)}")


def _show(result: Fraction) -> str:
    return f"{result.numerator:,}" if result.denominator == 1 else f"{float(result):,.10g}"
