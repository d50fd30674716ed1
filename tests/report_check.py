"""report_check.py PAGE RESULTS...: whether a report is what it claims to be.

It is well-formed XML, refers to nothing outside itself, runs nothing, and has every value of the
results in its tables.
"""

import json
import sys
import xml.etree.ElementTree as xml
from html.parser import HTMLParser

ELEMENTS = set("""html head meta title style body main header footer nav section figure figcaption
    h1 h2 h3 p em strong sup span a ul li dl div dt dd data details summary table thead tbody tr th
    td svg g path rect circle text tspan""".split())
ATTRIBUTES = set("""lang charset name content http-equiv class id href value scope tabindex role
    width height viewBox aria-label aria-hidden open d x y r rx transform fill-opacity""".split())

complaints = []


def complain(text):
    complaints.append(text)


class Names(HTMLParser):
    """What a browser finds, which need not be what XML has."""

    def __init__(self):
        super().__init__()
        self.elements = []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)


def check_elements(root):
    for element in root.iter():
        if element.tag not in ELEMENTS:
            complain(f"an element {element.tag}")
        for name, value in element.attrib.items():
            if name not in ATTRIBUTES:
                complain(f"an attribute {name} of {element.tag}")
            if name == "href" and not value.startswith("#"):
                complain(f"a link to {value}")
            if name == "href" and root.find(f".//*[@id='{value[1:]}']") is None:
                complain(f"a link to {value}, which is not there")


def check_text(text, root):
    names = Names()
    names.feed(text)
    found = [element.tag.lower() for element in root.iter()]
    if names.elements != found:
        complain("a browser finds other elements than XML has")
    for reference in ("url(", "@import", "src=", "://"):
        if reference in root.find("head/style").text or reference in markup_of(text):
            complain(f"a reference: {reference}")


def markup_of(text):
    """All tags, without the text between them and that of attributes for people."""
    inside = xml.tostring(strip_text(xml.fromstring(text)), encoding="unicode")
    return inside


def strip_text(element):
    for each in element.iter():
        each.text = each.tail = None
        each.attrib.pop("aria-label", None)
    return element


def clean(text):
    """As XML has it: without what it must not contain, and with spaces as they are compared."""
    allowed = (c if c in "\t\n\r" or (c >= " " and c not in "\x7f\ufffe\uffff") else "\ufffd"
               for c in text)
    return " ".join("".join(allowed).split())


def values_of(section):
    texts, numbers = set(), set()
    for cell in section.iter():
        if cell.tag in ("td", "dd", "dt", "th"):
            texts.add(" ".join("".join(cell.itertext()).split()))
        if cell.tag == "data":
            numbers.add(float(cell.attrib["value"]))
    return texts, numbers


def check_row(row, texts, numbers):
    for key, value in row.items():
        if clean(key) not in texts:
            complain(f"no key {key}")
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, (int, float)) and float(f"{value:.9g}") not in numbers \
                and float(value) not in numbers:
            complain(f"no number {value} of {key}")
        if isinstance(value, str) and clean(value) not in texts:
            complain(f"no text {value} of {key}")


def check_section(section, results):
    texts, numbers = values_of(section)
    for row in results["rows"] + results.get("compare", {}).get("rows", []):
        check_row(row, texts, numbers)
    context = section.find("dl[@class='pairs context']")
    said = " ".join("".join(context.itertext()).split())
    for key in ("version", "compiler", "gpu", "link", "driver", "date", "cpu"):
        value = results["context"].get(key)
        if isinstance(value, str) and clean(value) not in said:
            complain(f"the context has no {key}")


def main(page, *files):
    with open(page, encoding="utf-8", newline="") as file:
        text = file.read()
    root = xml.fromstring(text)
    check_elements(root)
    check_text(text, root)
    sections = root.findall("body/main/section")
    if len(sections) != len(files):
        complain(f"{len(sections)} sections")
    for section, name in zip(sections, files):
        with open(name, encoding="utf-8") as file:
            check_section(section, json.load(file))
    for complaint in complaints[:20]:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
