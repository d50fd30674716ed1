"""report_check.py PAGE RESULTS...: checks that a page contains those documents and allows only its own
script."""

import base64
import hashlib
import json
import re
import sys


def digest(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def complaints(page, documents):
    scripts = re.findall("<script(.*?)>(.*?)</script>", page, re.S)
    styles = re.findall("<style>(.*?)</style>", page, re.S)
    (about, data), (_, script) = scripts
    if about != ' type="application/json" id="results"' or page.count("<script") != 2:
        yield f"other scripts than the page's own: {scripts}"
    if [file["document"] for file in json.loads(data)["files"]] != documents:
        yield "the data are other documents"
    if re.search("<|[^\n -~]", data):
        yield "the data have a character that is not escaped"
    policy = (f"default-src 'none'; script-src '{digest(script)}'; "
              f"style-src '{digest(styles[0])}'; base-uri 'none'; form-action 'none'")
    if f'<meta http-equiv="Content-Security-Policy" content="{policy}">' not in page:
        yield f'page.html has to say content="{policy}"'
    unsafe = r"(?:inner|outer|Adjacent)HTML|document\.write|\beval|fetch|XMLHttp"
    markup = re.sub("<(script|style).*?</", "", page, flags=re.S)
    for found in re.findall(unsafe, script) + re.findall(r"\b(?:src|href|style|on\w+)=", markup):
        yield f"the page uses {found}"


def read(name):
    with open(name, encoding="utf-8", newline="") as file:
        return file.read()


if __name__ == "__main__":
    _, page, *results = sys.argv
    found = list(complaints(read(page), [json.loads(read(name)) for name in results]))
    print("\n".join(found))
    sys.exit(1 if found else 0)
