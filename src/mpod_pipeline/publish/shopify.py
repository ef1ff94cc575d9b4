"""Bring the published models to a Shopify store: ``python -m mpod_pipeline.publish.shopify FOLDER``.

FOLDER is a workspace's ``07_model_output/published``. The command prints what it would do; with ``--send`` it does it.
Each model goes to the product with a variant whose SKU is the model's id. A model that the product has already (its
hash is in the description) is left alone. An earlier model of the product stays there; remove it in the store.

The store's name and the access token (scopes read_products and write_products) come from the environment:
SHOPIFY_STORE=NAME.myshopify.com and SHOPIFY_ACCESS_TOKEN. Nothing of them is written anywhere.

Source: shopify.dev, Admin GraphQL API: stagedUploadsCreate, productUpdate.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.text import number_of
from mpod_pipeline.publish.decisions import model_hash

VERSION = "2026-07"
PATIENCE_S = 300
#: Letters of a model's hash in its description.
SHORT = 12
_FIND = """query find($query: String!) { productVariants(first: 2, query: $query) { nodes {
  sku product { id title media(first: 50) { nodes { alt mediaContentType } } } } } }"""
_STAGE = """mutation stage($input: [StagedUploadInput!]!) { stagedUploadsCreate(input: $input) {
  stagedTargets { url resourceUrl parameters { name value } } userErrors { field message } } }"""
_ADD = """mutation add($product: ProductUpdateInput!, $media: [CreateMediaInput!]) {
  productUpdate(product: $product, media: $media) { product { id } userErrors { field message } } }"""


class ShopError(Exception):
    """The store refused something; the message is its own."""


@dataclass(frozen=True)
class Shopify:
    """A store. url: of its GraphQL endpoint."""

    url: str
    token: str

    @classmethod
    def from_environment(cls) -> Shopify:
        """Raises SetupError where the environment names no store, or no token."""
        store, token = os.environ.get("SHOPIFY_STORE"), os.environ.get("SHOPIFY_ACCESS_TOKEN")
        if not store or not token:
            raise SetupError("Set SHOPIFY_STORE=NAME.myshopify.com and SHOPIFY_ACCESS_TOKEN in the environment.")
        return cls(f"https://{store}/admin/api/{VERSION}/graphql.json", token)

    def ask(self, question: str, **variables: Any) -> Any:
        """The answer's data. Raises ShopError with what the store says."""
        asked = {"query": question, "variables": variables}
        answer = _sent(self.url, json=asked, headers={"X-Shopify-Access-Token": self.token}).json()
        wrong = answer.get("errors") or [
            error for part in answer["data"].values() for error in (part or {}).get("userErrors", [])
        ]
        if wrong:
            raise ShopError("; ".join(str(error.get("message", error)) for error in wrong))
        return answer["data"]

    def product_of(self, sku: str) -> Any:
        """The product with a variant of this SKU. Raises ShopError where there is none, or there are several."""
        quoted = sku.replace("\\", "\\\\").replace('"', '\\"')
        found = self.ask(_FIND, query=f'sku:"{quoted}"')["productVariants"]["nodes"]
        products = {node["product"]["id"]: node["product"] for node in found if node["sku"] == sku}
        if len(products) != 1:
            raise ShopError(f"{number_of(len(products), 'product')} of the store have the SKU {sku}; one must have it.")
        return next(iter(products.values()))

    def upload(self, name: str, data: bytes) -> str:
        """Bring a GLB to the store's files; its address there."""
        described = {
            "filename": name,
            "mimeType": "model/gltf-binary",
            "resource": "MODEL_3D",
            "fileSize": str(len(data)),
            "httpMethod": "POST",
        }
        (target,) = self.ask(_STAGE, input=[described])["stagedUploadsCreate"]["stagedTargets"]
        fields = {each["name"]: each["value"] for each in target["parameters"]}
        _sent(target["url"], data=fields, files={"file": (name, data, "model/gltf-binary")})
        return target["resourceUrl"]

    def add(self, product: str, address: str, description: str) -> None:
        media = {"originalSource": address, "mediaContentType": "MODEL_3D", "alt": description}
        self.ask(_ADD, product={"id": product}, media=[media])


def bring(folder: Path, store: Shopify | None) -> Iterator[str]:
    """Bring all models of the folder to the store, and yield a sentence for each; without a store, what would be done.

    One model's trouble is told and the others go on.
    """
    models = sorted((folder / "shopify").glob("*.glb"))
    if not models:
        raise SetupError(f"No model for Shopify in {folder}; make them by: kedro run --pipeline=publish")
    for path in models:
        data = path.read_bytes()
        if store is None:
            yield f"would bring {path.name} ({len(data) / 1e6:.2f} MB) to the product with the SKU {path.stem}"
            continue
        try:
            yield f"{path.stem}: {_brought(path, data, store)}"
        except ShopError as error:
            yield f"{path.stem}: failed. {error}"


def _brought(path: Path, data: bytes, store: Shopify) -> str:
    mark = f"[{model_hash(data)[:SHORT]}]"
    product = store.product_of(path.stem)
    if any(mark in (media["alt"] or "") for media in product["media"]["nodes"]):
        return "is there already"
    store.add(product["id"], store.upload(path.name, data), f"{product['title']}, as a 3D model {mark}")
    return f"brought to {product['title']}"


def _sent(url: str, **what: Any) -> requests.Response:
    try:
        answer = requests.post(url, timeout=PATIENCE_S, **what)
    except requests.RequestException as error:
        raise ShopError(f"It does not answer ({error}).") from error
    if not answer.ok:
        raise ShopError(f"It answered {answer.status_code}: {answer.text[:500].strip()}")
    return answer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mpod_pipeline.publish.shopify", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path, help="a workspace's 07_model_output/published")
    parser.add_argument("--send", action="store_true", help="do it, instead of saying what would be done")
    asked = parser.parse_args(arguments)
    failed = 0
    try:
        for sentence in bring(asked.folder, Shopify.from_environment() if asked.send else None):
            failed += ": failed. " in sentence
            print(sentence, flush=True)
    except SetupError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    if not asked.send:
        print("Nothing was sent. Do so by: --send")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
