"""Element names by the rules that the HTML Standard gives them (sections 13.2.4 and 13.2.6).

Guarantees: data only; each set is the standard's list of that name, or says what it is.
Leaves to others: what the rules do with them (`tree.py`).
"""

import re


def names(text: str) -> frozenset[bytes]:
    """Give element names as the tokenizer has them."""
    return frozenset(text.encode().split())


VOID = names(
    "area base basefont bgsound br col embed frame hr image img input keygen link meta param "
    "source track wbr"
)
FORMATTING = names("a b big code em font i nobr s small strike strong tt u")
HEAD = names(
    "html head base basefont bgsound link meta title style script noscript noframes template"
)
BLOCK = names(
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure "
    "footer header hgroup main menu nav ol p search section summary ul pre listing form h1 h2 h3 "
    "h4 h5 h6 li dd dt"
)
SPECIAL = BLOCK | names(
    "applet button caption colgroup iframe marquee noembed noframes noscript object "
    "plaintext script select style table tbody td template textarea tfoot th thead title tr xmp"
)
SCOPE = names("applet caption table td th marquee object template")
STRUCTURE = names("caption col colgroup tbody td tfoot th thead tr")
SECTIONS = names("tbody tfoot thead")
CELLS = names("td th")
HEADINGS = names("h1 h2 h3 h4 h5 h6")
MARKERS = names("td th caption applet marquee object template")
CONTEXT = {
    b"table": "table",
    b"tbody": "section",
    b"tfoot": "section",
    b"thead": "section",
    b"tr": "row",
    b"td": "cell",
    b"th": "cell",
    b"caption": "caption",
    b"colgroup": "columns",
    b"select": "select",
    b"template": "template",
}
FLOW = frozenset({"", "cell", "caption"})  # contexts whose content stays where it stands
# Elements inside which a pixel would not load, not render, or not be a child.
BAD = names(
    "object noscript select template button map video audio option optgroup svg math frameset"
)
BREAKOUT = names(
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img "
    "li listing menu meta nobr ol p pre ruby s small span strong strike sub sup table tt u ul var"
)
# Foreign elements whose content is HTML again.
INTEGRATION = {
    b"svg:": names("foreignobject desc title"),
    b"mml:": names("mi mo mn ms mtext"),
}


P = names("p")
LI = names("li")
TERMS = names("dd dt")
BUTTON = names("button")
FORM = names("form")
SELECT = names("select")
TEMPLATE = names("template")
TABLE = names("table")
ROW = names("tr")
CAPTION = names("caption")
COLGROUP = names("colgroup")
OBJECTS = names("applet marquee object template")
BUTTON_SCOPE = SCOPE | BUTTON
LIST_SCOPE = SCOPE | names("ol ul")
TABLE_SCOPE = names("table template")
FONT = re.compile(rb"(?i:[\t\n\f\r /\"'](?:color|face|size)[\t\n\f\r />=])")
# The end tags a table context takes for itself, and what it closes for an outer one.
OWN_END = {
    "cell": CELLS,
    "caption": CAPTION,
    "row": ROW,
    "section": SECTIONS,
    "table": TABLE,
    "columns": COLGROUP,
    "select": SELECT | names("option optgroup"),
}
CLOSES = {
    "cell": CELLS,
    "caption": CAPTION,
    "row": ROW,
    "section": SECTIONS,
    "table": TABLE,
    "select": SELECT,
}
# Elements that are never on the stack here: they hold nothing, or only mark text.
RAW = names("style script title textarea xmp iframe noembed noframes plaintext")
UNSTACKED = VOID | FORMATTING | RAW
SCOPED_END = BLOCK | names("button applet marquee object")
END_SCOPE = {b"p": BUTTON_SCOPE, b"li": LIST_SCOPE}
