#!/usr/bin/env bash
# Four surprises of two libraries that a corpus of web pages is built with. One would expect each to be otherwise.
#
#   fasttext-wheel 0.9.2, numpy 2.4.6
#   model.predict("…")                     ValueError: Unable to avoid copy while creating an array as requested
#   model.f.predict("…\n", 2, 0.0, "strict")   the compiled function below it works: [(probability, label), …]
#   load_model of a file cut in half       no error: every text is 0.50001 of each label
#
#   resiliparse 2.0.1
#   for e in body.query_selector_all("i")  quadratic: each index makes a Python object of every element again;
#                                          going through .values() is linear (800 elements: 4 s against 4 ms)
#   extract_plain_text of MathML           the letters side by side: a half is 12, and x squared x2
#   extract_plain_text(main_content=True)  quadratic in the depth of nesting: 4,000 <div> take 0.7 s
#
# A model file therefore needs a digest of its own, formulas must become LaTeX before extraction, and pages that are
# nested deeper than a few hundred elements must be refused.
#
# Installs the packages into a temporary folder, and fails if what it sees has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet fasttext-wheel==0.9.2 resiliparse==2.0.1 numpy==2.4.6 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON'
import time

import fasttext
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

fasttext.FastText.eprint = lambda text: None
with open("train.txt", "w") as file:
    file.write("__label__math a proof of a theorem\n__label__rest a shop and a cart\n" * 200)
model = fasttext.train_supervised("train.txt", dim=8, epoch=20, bucket=1000, minCount=1, thread=1, verbose=0)
try:
    model.predict("proof of a theorem")
    raise SystemExit("changed: predict works")
except ValueError as error:
    print("predict:", str(error).splitlines()[0])
[(probability, label), _] = model.f.predict("proof of a theorem\n", 2, 0.0, "strict")
assert label == "__label__math", label
assert probability > 0.9, probability
print("f.predict:", label, round(probability, 3))
model.save_model("model.bin")
with open("model.bin", "rb") as file:
    content = file.read()
with open("cut.bin", "wb") as file:
    file.write(content[: len(content) // 2])
cut = fasttext.load_model("cut.bin").f.predict("proof of a theorem\n", 2, 0.0, "strict")
print("of a file cut in half:", [(round(probability, 5), label) for probability, label in cut])
assert len(cut) == 2, cut
assert all(abs(probability - 0.5) < 0.001 for probability, _ in cut), cut


def seconds(call):
    began = time.process_time()
    call()
    return time.process_time() - began


body = HTMLTree.parse("<body>" + "<i>x</i>" * 800).body
found = body.query_selector_all("i")
slow, fast = seconds(lambda: [e for e in found]), seconds(lambda: list(found.values()))
print(f"800 elements: {slow:.2f} s one by one, {fast:.4f} s by values()")
assert slow > 20 * fast, (slow, fast)
text = extract_plain_text("<p>It is <math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>")
print("MathML of a half:", text)
assert text == "It is 12", text
pages = ["<div>" * depth + "text" + "</div>" * depth for depth in (1000, 4000)]
few, many = (seconds(lambda page=page: extract_plain_text(page, main_content=True)) for page in pages)
print(f"1,000 nested elements {few:.3f} s, 4,000 {many:.3f} s")
assert many > 7 * few, (few, many)
PYTHON
