"""The colours of WDL in code blocks, which Pygments does not know."""

from __future__ import annotations

import re
from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Comment, Keyword, Name, Number, Operator, Punctuation, String, Text

KEYWORDS = (
    r"alias|as|call|else|false|hints|if|import|in|input|meta|none|object|output|parameter_meta|requirements|runtime|"
    r"scatter|struct|task|then|true|workflow"
)
TYPES = "Array|Map|Pair|File|Directory|String|Int|Float|Boolean"


class WdlLexer(RegexLexer):
    """Workflow Description Language: keywords, types, literals; a command is one string."""

    name = "WDL"
    aliases: ClassVar = ["wdl"]
    tokens: ClassVar = {
        "root": [
            (r"#.*$", Comment),
            (r"(version)(\s+)(\S+)", bygroups(Keyword, Text, Number)),
            (r"(command)(\s*)(<<<)(.*?)(>>>)", bygroups(Keyword, Text, Punctuation, String, Punctuation)),
            (r"(command)(\s*)(\{)(.*?)(\})", bygroups(Keyword, Text, Punctuation, String, Punctuation)),
            (r"'[^']*'|\"[^\"]*\"", String),
            (r"\d+(\.\d+)?", Number),
            (rf"\b(?:{TYPES})\b", Keyword.Type),
            (rf"\b(?:{KEYWORDS})\b", Keyword),
            (r"[A-Za-z_]\w*", Name),
            (r"[-+*/%=<>!&|?:.,]", Operator),
            (r"[][(){}]", Punctuation),
            (r"\s+", Text),
        ],
    }
    flags = re.DOTALL | re.MULTILINE
