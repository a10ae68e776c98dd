#!/usr/bin/env bash
# kfp.Client() without a host reaches Kubeflow Pipelines through the API server's service proxy, by the kubeconfig.
# One would expect that to depend on nothing but the address in it. It depends on how the user logs in:
#
#   kfp 2.17.0, kubernetes 30.1.0
#   client certificate, or no login   GET /api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy//apis/v2beta1/healthz
#   token (or an exec plugin)         GET /apis/v2beta1/healthz   (the API server's own root, which answers 404)
#
# kfp appends the proxy's path to the host that the kubernetes package wrote into its configuration; with a token
# that package also leaves a refresh hook there, which writes the whole configuration anew, host included, before
# each request. Setting the host again after the hook, and the hook itself, which is written anew too, keeps it.
#
# Installs both packages into a temporary folder, asks a local server, and fails if what it sees has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet kfp==2.17.0 kubernetes==30.1.0
cd "$folder"
HOME=$folder "$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import json
import logging
import threading
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

import kfp
from kubernetes.config import kube_config

logging.disable()
asked = []


class ApiServer(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path.partition("?")[0])
        found = "/proxy/" in self.path
        body = b'{"multi_user": false}' if found else b"404 page not found"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), ApiServer)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for login, user in {"none": {}, "token": {"token": "example"}}.items():
    asked.clear()
    with open("kubeconfig", "w") as file:
        json.dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "me", "user": user}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            },
            file,
        )
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = "kubeconfig"
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(TimeoutError):  # of its health, which it asks for five times
            kfp.Client().list_experiments()
    seen[login] = asked[0]
    print(f"login {login:5}  GET {asked[0]}")
proxy = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/"
assert seen["none"].startswith(proxy), seen
assert seen["token"].startswith("/apis/v2beta1/"), seen
print("as described")
PYTHON
