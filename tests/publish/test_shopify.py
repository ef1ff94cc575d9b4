"""The way to a Shopify store, against a server that answers as one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.publish.decisions import model_hash
from mpod_pipeline.publish.shopify import SHORT, Shopify, bring, main

GLB = b"glTF, or so"


class Store(ThreadingHTTPServer):
    """products: SKU to title. It keeps what it gets."""

    def __init__(self, products: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.products, self.files, self.media = products, [], {}
        self.tokens: set[str] = set()

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "productVariants" in query:
            sku = variables["query"].removeprefix('sku:"').removesuffix('"')
            media = {"nodes": self.media.get(sku, [])}
            product = {"id": f"gid://{sku}", "title": self.products.get(sku), "media": media}
            return {"productVariants": {"nodes": [{"sku": sku, "product": product}] if sku in self.products else []}}
        if "stagedUploadsCreate" in query:
            (described,) = variables["input"]
            if int(described["fileSize"]) > 100:
                return {"stagedUploadsCreate": {"stagedTargets": [], "userErrors": [{"message": "It is too large"}]}}
            here = f"http://127.0.0.1:{self.server_port}"
            parameters = [{"name": "policy", "value": "signed"}]
            target = {
                "url": f"{here}/upload",
                "resourceUrl": f"{here}/{described['filename']}",
                "parameters": parameters,
            }
            return {"stagedUploadsCreate": {"stagedTargets": [target], "userErrors": []}}
        sku = variables["product"]["id"].removeprefix("gid://")
        self.media.setdefault(sku, []).extend(variables["media"])
        return {"productUpdate": {"product": variables["product"], "userErrors": []}}


class _Answers(BaseHTTPRequestHandler):
    server: Store

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/upload":
            self.server.files.append(body)
            data = b""
        else:
            self.server.tokens.add(self.headers["X-Shopify-Access-Token"])
            data = json.dumps({"data": self.server.answer(**json.loads(body))}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def store() -> Iterator[Store]:
    with Store({"mug": "A mug"}) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        yield store
        store.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shopify").mkdir()
    (tmp_path / "shopify/mug.glb").write_bytes(GLB)
    return tmp_path


def test_without_send_it_only_says_what_it_would_do(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "would bring mug.glb (0.00 MB) to the product with the SKU mug",
        "Nothing was sent. Do so by: --send",
    ]


def test_a_model_is_brought_once(folder: Path, store: Store) -> None:
    shop = Shopify(f"http://127.0.0.1:{store.server_port}/graphql.json", "secret")
    assert list(bring(folder, shop)) == ["mug: brought to A mug"]
    (media,) = store.media["mug"]
    assert media["mediaContentType"] == "MODEL_3D" and media["originalSource"].endswith("/mug.glb")
    assert media["alt"] == f"A mug, as a 3D model [{model_hash(GLB)[:SHORT]}]"
    (sent,) = store.files
    assert sent.index(b'name="policy"') < sent.index(b'name="file"; filename="mug.glb"') and GLB in sent
    assert store.tokens == {"secret"}
    assert list(bring(folder, shop)) == ["mug: is there already"]
    assert len(store.files) == 1


def test_one_models_trouble_is_told_and_the_others_go_on(folder: Path, store: Store) -> None:
    store.products["big"] = "Big"
    (folder / "shopify/big.glb").write_bytes(GLB * 20)
    (folder / "shopify/lost.glb").write_bytes(GLB)
    shop = Shopify(f"http://127.0.0.1:{store.server_port}/graphql.json", "secret")
    assert list(bring(folder, shop)) == [
        "big: failed. It is too large",
        "lost: failed. 0 products of the store have the SKU lost; one must have it.",
        "mug: brought to A mug",
    ]


def test_a_store_that_does_not_answer_is_told(folder: Path) -> None:
    (said,) = bring(folder, Shopify("http://127.0.0.1:9/graphql.json", "secret"))
    assert said.startswith("mug: failed. It does not answer")


@pytest.mark.parametrize("arguments", [[], ["--send"]])
def test_what_is_missing_is_said(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOPIFY_STORE", raising=False)
    assert main([str(tmp_path), *arguments]) == 2
    assert ("SHOPIFY_STORE" if arguments else "kedro run --pipeline=publish") in capsys.readouterr().err
