"""The commands of `litevl`, one file each.

A file holds the command's function, which parses, shows and gives the exit code; the work is done in the package that
knows about it. What stands at the top of a file is imported by `litevl --help` too, so torch, transformers and what
needs them are imported inside the function.
"""

from litevl.commands.compare import compare
from litevl.commands.index import encode, index
from litevl.commands.prepare import prepare
from litevl.commands.say import ask, caption
from litevl.commands.search import search
from litevl.commands.serve import serve
from litevl.commands.validate import validate

__all__ = ["ask", "caption", "compare", "encode", "index", "prepare", "search", "serve", "validate"]
