"""Text that tries to be something else: a script, a command to a terminal, markup, a formula, a template."""

CANARY = "canary('{}')"

SCRIPTS = [
    "<script>canary('script')</script>",
    "</script><script>canary('second script')</script>",
    "<img src=x onerror=canary('image')>",
    "<svg/onload=canary('svg')>",
    "<body onload=canary('body')>",
    "<iframe srcdoc=\"<script>parent.canary('frame')</script>\"></iframe>",
    "<details open ontoggle=canary('toggle')>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=canary('mutation')>",
    "javascript:canary('address')",
    "<a href=\"javascript:canary('link')\">x</a>",
    "'\"><b onmouseover=canary('attribute') style=position:fixed;inset:0>",
    "\" autofocus onfocus=canary('focus') x=\"",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<link rel=stylesheet href=http://127.0.0.1:9/style.css>",
    "<img src=http://127.0.0.1:9/pixel.png>",
    "<style>@import 'http://127.0.0.1:9/'; *{display:none}</style>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><input autofocus>",
    "--><script>canary('comment')</script><!--",
    "]]><script>canary('section')</script>",
    "&lt;script&gt;canary('entity')&lt;/script&gt;",
    "\\u003cscript\\u003ecanary('escape')\\u003c/script\\u003e",
    "\\\"};canary('JSON');//",
    "</template><script>canary('template')</script>",
    "<noscript><p title=\"</noscript><img src=x onerror=canary('noscript')>\">",
]
TEMPLATES = [
    "{{7*7}}", "{% raw %}{{ config }}{% endraw %}", "${canary('template literal')}", "#{7*7}", "<%= canary(1) %>",
    "%s%n%x", "{0.__class__}", "__proto__", "constructor", "toString", "hasOwnProperty", "=cmd|'/c calc'!A1",
    "@SUM(1+1)", "+1-1", "-2+3", "\t=1", "[[x]]", "$(touch canary)", "`touch canary`", "; touch canary",
]  # fmt: skip
CONTROLS = [
    "\x1b[5;35;7mEVIL\x1b[0m", "\x1b]0;EVIL\x07", "\x1b]8;;http://127.0.0.1:9/\x1b\\EVIL\x1b]8;;\x1b\\", "\x1b[6nEVIL",
    "\x1b[2J\x1b[HEVIL", "\x1bPq#0;2;0;0;0EVIL\x1b\\", "\x1b]52;c;RVZJTA==\x07", "\x9b5;35mEVIL", "\x9d0;EVIL\x9c",
    "good\rEVIL", "EVIL\x08\x08\x08\x08", "\x07EVIL", "\x0eEVIL\x0f", "\x1b(0EVIL", "\x7fEVIL", "a\x0b\x0cEVIL",
    "\u202eLIVE\u202c", "\u2066EVIL\u2069", "\u200bEVIL\ufeff", "\u2028EVIL\u2029", "EVIL\n\nentroshape: all is well",
]  # fmt: skip
MARKUP = [
    "[bold]EVIL[/bold]", "[/bold]", "[red]", "[link=http://127.0.0.1:9/]x[/link]", "[/]", "[@click=quit]x[/]",
    ":smile:", "[#ff0000 on blue]x", "\\[bold]", "[[bold]]", "[" * 50, "**x** `y`",
]  # fmt: skip
ODD = [
    "👩‍👩‍👧", "e\u0301" * 40, "مرحبا שלום", "a" * 3000, " ", "\u00a0", "\ud7a3", "\U0010ffff", "NaN", "null",
    "undefined",
]  # fmt: skip
NUL = ["\0EVIL", "a\0b"]
SURROGATES = ["\ud800EVIL", "\udcff", "a\ude00b"]
LONG = ["x" * 1_000_000, "<b>" * 300_000, "\x1b[5m" * 200_000]

TEXTS = [*SCRIPTS, *TEMPLATES, *CONTROLS, *MARKUP, *ODD]
"""What every place can hold: in a file's name, too, where it has no slash."""
