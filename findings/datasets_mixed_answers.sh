#!/usr/bin/env bash
# Published math data mixes types in its answer column: 2, "1/2", [1, 2]. One would expect `datasets` to refuse such
# a JSON-lines file, as it did before version 5, or to make every answer a text: "2", "1/2".
#
#   datasets 5.2.0, pyarrow 26.0.1
#   load_dataset("json", …)       accepts it; the column is Json(decode=True): 2, '1/2', [1, 2]
#   to_parquet, then pyarrow      extension<arrow.json>, read as the text of JSON: '2', '"1\/2"', '[1,2]'
#
# So whoever reads the Parquet file without `datasets` gets every answer that was a text with quotation marks around
# it and, in a fraction, a backslash before the slash: '"1\/2"' is not equal to 1/2, and no error tells.
# pandas shows the same values. Each value has to be decoded as JSON.
#
# Installs both packages into a temporary folder, writes and reads a file, and fails if what it sees has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
HF_HOME=$folder HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import json

import datasets
import pyarrow.parquet

datasets.disable_progress_bars()
answers = [2, "1/2", [1, 2]]
with open("rows.jsonl", "w") as file:
    file.writelines(json.dumps({"answer": answer}) + "\n" for answer in answers)
data = datasets.load_dataset("json", data_files="rows.jsonl", cache_dir="cache")["train"]
data.to_parquet("rows.parquet")
column = pyarrow.parquet.read_table("rows.parquet")["answer"]
seen = (str(data.features["answer"]), data[:]["answer"], str(column.type), column.to_pylist())
print(*seen, sep="\n")
assert seen == ("Json(decode=True)", answers, "extension<arrow.json>", ["2", '"1\\/2"', "[1,2]"]), "changed"
PYTHON
