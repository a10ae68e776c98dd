"""Refusals by webhooks are told apart from missing permissions and from failures of the API server."""

from __future__ import annotations

from typing import Any

import pytest

from mathloop.cluster.kinds import CONFIG_MAP
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import Denied, Forbidden, WebhookDown
from tests.fake_cluster import FakeCluster, Refusal

BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": "mathloop"}}
RENAMED = (
    'admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: predictor.name '
    "change requires a model change (e.g. storageUri)"
)
DOWN = (
    'Internal error occurred: failed calling webhook "mresourceflavor.kb.io": failed to call webhook: Post '
    '"https://127.0.0.1:9446/mutate": dial tcp 127.0.0.1:9446: connect: connection refused'
)


@pytest.mark.parametrize(
    ("code", "reason", "message", "error", "said"),
    [
        (403, "Forbidden", RENAMED, Denied, RENAMED),
        (422, "Invalid", RENAMED, Denied, RENAMED),
        (403, "Forbidden", 'configmaps is forbidden: User "me" cannot create', Forbidden, "no permission to"),
        (500, "InternalError", DOWN, WebhookDown, "the webhook mresourceflavor.kb.io does not answer"),
    ],
)
def test_each_refusal_says_whose_it_is(
    fake: FakeCluster,
    cluster: Cluster,
    code: int,
    reason: str,
    message: str,
    error: type[Exception],
    said: str,
) -> None:
    def refuse(body: Any) -> Any:
        raise Refusal(code, reason, message)

    fake.admission["configmaps"] = refuse
    with pytest.raises(error, match=r"^[^\n]*$") as refused:
        cluster.try_create(CONFIG_MAP, BODY)
    assert said in str(refused.value)


def test_a_dry_run_stores_nothing(fake: FakeCluster, cluster: Cluster) -> None:
    assert cluster.try_create(CONFIG_MAP, BODY)["metadata"]["name"] == "one"
    assert fake.count("configmaps") == 0
