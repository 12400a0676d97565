"""Answers that are made to hold, fill or break the judge."""

from collections.abc import Iterator


def hostile_answers() -> dict[str, str]:
    """Names and completions; none of them is a right answer to 7."""
    boxed = {**_powers(), **_calculations(), **_shapes(), **_characters()}
    answers = {name: f"so \\boxed{{{content}}}" for name, content in boxed.items()}
    return {**answers, **dict(_texts())}


def _powers() -> dict[str, str]:
    answers = {}
    for base, depth in ((9, 3), (10, 4), (2, 6), (7, 20)):
        answers[f"tower of {base}, {depth}"] = f"{base}^{{" * depth + str(base) + "}" * depth
        answers[f"tower of {base}, {depth}, in brackets"] = f"{base}^(" * depth + str(base) + ")" * depth
        answers[f"tower of {base}, {depth}, bare"] = "^".join([str(base)] * (depth + 1))
    for exponent in ("10^9", "10^{12}", "9999999999", "10^{-12}", "\\frac{10^{15}}{7}", "10^{10}!"):
        answers[f"3 to {exponent}"] = f"3^{{{exponent}}}"
        answers[f"half to {exponent}"] = f"\\left(\\frac{{1}}{{2}}\\right)^{{{exponent}}}"
        answers[f"sum to {exponent}"] = f"(x+1)^{{{exponent}}}"
    answers["power in the denominator"] = "\\frac{1}{9^{9^{9^9}}}"
    answers["difference of powers"] = "9^{9^9}-9^{9^9}+7"
    answers["polynomial"] = "(x+y+z+1)^{400}"
    answers["decimal tower"] = "10.5^{10.5^{10.5^{10.5}}}"
    answers["exponent notation"] = "1e999999999"
    answers["exponent notation, short"] = "1e9999"
    answers["power of i"] = "i^{10^{10^{10}}}"
    answers["power in an index"] = "101_{9^{9^9}}"
    answers["percent of a power"] = "9^{9^{9^9}}\\%"
    return answers


def _calculations() -> dict[str, str]:
    return {
        "factorial": "(10^8)!",
        "factorial of a factorial": "((20!)!)!",
        "factorials in a row": "7" + "!" * 200,
        "binomial": "\\binom{10^9}{5\\cdot 10^8}",
        "sum": "\\sum_{k=1}^{10^9} k^k",
        "sums in sums": "\\sum_{i=1}^{10^6}\\sum_{j=1}^{10^6}\\sum_{k=1}^{10^6} \\frac{i}{j+k!}",
        "product": "\\prod_{k=1}^{10^9} (k^2+1)",
        "integral": "\\int_0^{10^9} e^{x^{x}} \\sin(x^{x}) dx",
        "integrals": "\\int_0^1\\int_0^1\\int_0^1 \\frac{e^{xyz}}{\\sin(x)+\\ln(y+z)} dx dy dz",
        "limit": "\\lim_{x \\to \\infty} x^{x^{x}}\\sin(x!)",
        "root": "\\sqrt[10^9]{2^{10^9}+1}",
        "root of many digits": "\\sqrt{" + "9" * 4000 + "}",
        "roots in roots": "\\sqrt{2+" * 60 + "1" + "}" * 60,
        "logarithm": "\\log_{2}{(2^{10^{10}})}",
        "sine": "\\sin(10^{10^{10}})",
        "division by zero": "\\frac{1}{0}",
        "zero to zero": "0^{0^{0}}",
        "determinant": "\\det\\begin{pmatrix}"
        + "\\\\".join("&".join(["x^9"] * 12) for _ in range(12))
        + "\\end{pmatrix}",
        "equation": "x^{97}+x^{89}+\\sin(x)^{7}=e^{x^{x}}",
        "inequalities": "1<" + "<".join(f"x^{{{i}}}" for i in range(2, 60)),
        "modulo": "7^{10^{10^{10}}} \\bmod 10",
        "gcd": "\\gcd(10^{10^{8}}, 10^{10^{8}}+1)",
        "floor": "\\lfloor 9^{9^{9}} / 7 \\rfloor",
    }


def _shapes() -> dict[str, str]:
    shapes = {}
    for depth in (30, 300, 2000):
        shapes[f"{depth} brackets"] = "(" * depth + "1" + ")" * depth
        shapes[f"{depth} braces"] = "{" * depth + "1" + "}" * depth
        shapes[f"{depth} fractions"] = "\\frac{1}{1+" * depth + "1" + "}" * depth
        shapes[f"{depth} bars"] = "|" * depth + "1" + "|" * depth
        shapes[f"{depth} minus signs"] = "-" * depth + "1"
        shapes[f"{depth} roots"] = "\\sqrt{" * depth + "1" + "}" * depth
        shapes[f"{depth} open brackets"] = "(" * depth
        shapes[f"{depth} indices"] = "x_{" * depth + "1" + "}" * depth
        shapes[f"{depth} sets"] = "\\{" * depth + "1" + "\\}" * depth
    shapes["terms"] = "+".join(f"x^{{{i}}}" for i in range(600))
    shapes["factors"] = "".join(f"(x-{i})" for i in range(400))
    shapes["list"] = ",".join(map(str, range(1200)))
    shapes["matrix"] = "\\begin{pmatrix}" + "\\\\".join("&".join(["1"] * 40) for _ in range(40)) + "\\end{pmatrix}"
    shapes["unions"] = "\\cup".join(f"({i},{i + 1})" for i in range(300))
    shapes["digits"] = "9" * 4900
    shapes["digits after the point"] = "0." + "3" * 4900
    shapes["commands"] = "\\frac" * 900
    shapes["fractions without braces"] = "\\frac12" * 600
    shapes["dollars"] = "$" * 4000
    shapes["text in text"] = "\\text{" * 300 + "7" + "}" * 300
    return shapes


def _characters() -> dict[str, str]:
    return {
        "null bytes": "\x007\x00" + "\x00" * 100 + "8",
        "lone surrogates": "\ud800\udfff8",
        "right to left": "\u202e8\u202c",
        "no width": "8\u200b" * 100,
        "digits of another script": "٨٨",
        "superscripts": "9⁹⁹⁹",
        "combining": "8" + "\u0301" * 3000,
        "controls": "".join(map(chr, range(1, 32))),
        "code": "__import__('os').system('exit 7')",
        "code in a power": "(1).__class__.__bases__[0].__subclasses__()",
        "format": "{0.__class__}%s%n{}",
        "unknown commands": "\\input{/etc/passwd}\\write18{ls}",
        "a pickle": "cos\nsystem\n(S'exit 7'\ntR.",
        "a reply": '[true, true]\n{"outcome": true}',
    }


def _texts() -> Iterator[tuple[str, str]]:
    """Completions that are hostile outside a box."""
    yield "unclosed", "\\boxed{9^{9^{9"
    yield "unopened", "9}}}}\\boxed"
    yield "empty", "\\boxed{}"
    yield "a million characters", "\\boxed{" + "8" * 10**6 + "}"
    yield "a million brackets", "(" * 10**6
    yield "a million boxes", "\\boxed{" * 140_000
    yield "many closed boxes", "\\boxed{8}," * 100_000
    yield "a million spaces", "\\boxed{8}" + " " * 10**6 + "\\boxed{9}"
    yield "tags", "<answer>" * 100_000 + "8</answer>"
    yield "open tags", "<answer>" * 100_000
    yield "marks", "#### 8\n" * 100_000
    yield "mark without an end", "#" * 2000 + "\n"
    yield "dollars", "$" * 2000
    yield "open mathematics", "$a" * 1000
    yield "display mathematics", "\\[" * 1000 + "$$" * 300
    yield "answers", "the final answer is " * 150
    yield "answers of fractions", "answer: $\\frac{1}{2}$, and " * 100
    yield "joined mathematics", "$8$ and " * 280
    yield "numbers", "1,000 " * 380
    yield "operators", "1" + "+-*/^()" * 330
    yield "power in prose", "The answer is 9**9**9**9**9"
    yield "power in dollars", "The answer is $9^{9^{9^{9^9}}}$"
    yield "product in prose", "= " + "*".join(["99999999"] * 200) + "^99999999"
    yield "power in tags", "<answer>9^{9^{9^{9}}}</answer>"
    yield "backslashes", "\\" * 100_001
