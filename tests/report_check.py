"""report_check.py page PAGE RESULTS...: whether a page holds those documents, and allows only its
own script.

report_check.py dom DOM RESULTS...: whether what a browser made of it shows every value of them.
"""

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser

complaints = []


class Page(HTMLParser):
    """Elements with their attributes and the text directly in them or in a child of them."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        self.open = self.open[-1:] + [self.elements[-1]]

    def handle_endtag(self, tag):
        if self.open and self.open[-1][0] == tag:
            self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element[2].append(data)

    def named(self, name):
        return [(attributes, "".join(text))
                for tag, attributes, text in self.elements if tag == name]


def documents(names):
    for name in names:
        with open(name, encoding="utf-8") as file:
            yield json.load(file)


def digest(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def check_page(page, names):
    scripts, styles = page.named("script"), page.named("style")
    own = [{"type": "application/json", "id": "results"}, {}]
    if [attributes for attributes, _ in scripts] != own or len(styles) != 1:
        complaints.append(f"other scripts or styles than the page's own: {scripts} {styles}")
        return
    (_, data), (_, script) = scripts
    policy = (f"default-src 'none'; script-src '{digest(script)}'; "
              f"style-src '{digest(styles[0][1])}'; base-uri 'none'; form-action 'none'")
    if [meta["content"] for meta, _ in page.named("meta") if "http-equiv" in meta] != [policy]:
        complaints.append(f"page.html has to say content=\"{policy}\"")
    if re.search("<|[^\n -~]", data):
        complaints.append("the data has a character that is not escaped")
    if [file["document"] for file in json.loads(data)["files"]] != list(documents(names)):
        complaints.append("the data are other documents")
    unsafe = re.findall(r"(?:inner|outer|Adjacent)HTML|document\.write|\beval|fetch|XMLHttp", script)
    linked = [attributes for _, attributes, _ in page.elements
              if {"src", "href", "style"} & set(attributes)]
    if unsafe or linked:
        complaints.append(f"the page uses {unsafe} {linked}")


def check_dom(page, names):
    cells = page.named("td") + page.named("dd")
    numbers = {float(attributes["title"]) for attributes, _ in cells if "title" in attributes}
    texts = {text for _, text in cells}
    heads = {text for _, text in page.named("th") + page.named("dt")}
    said = "\n".join(texts)
    for document in documents(names):
        for row in document["rows"] + document.get("compare", {}).get("rows", []):
            for key, value in row.items():
                if key not in heads:
                    complaints.append(f"no key {key}")
                if type(value) in (int, float) and float(value) not in numbers:
                    complaints.append(f"no number {value} of {key}")
                if isinstance(value, str) and value not in texts:
                    complaints.append(f"no text {value} of {key}")
        for key, value in document["context"].items():
            if isinstance(value, str) and value not in said:
                complaints.append(f"the context has no {key}")


if __name__ == "__main__":
    with open(sys.argv[2], encoding="utf-8", newline="") as file:
        {"page": check_page, "dom": check_dom}[sys.argv[1]](Page(file.read()), sys.argv[3:])
    print("\n".join(complaints[:20]))
    sys.exit(1 if complaints else 0)
