"""What a page of ours may load and run: nothing but what it holds itself."""

import base64
import hashlib

APP_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "connect-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Of the page that segments: files beside it, WebAssembly, and workers that it makes itself."""


def content_policy(style: str, script: str | None = None) -> str:
    """A Content-Security-Policy for a `meta` tag (https://www.w3.org/TR/CSP3/).

    The one style sheet and the one script are known by their digests, so that nothing that slips
    into the page as text can become another one. Images are part of the page.

    Args:
        style: what stands in the page's `<style>`.
        script: what stands in its `<script>`; `None` where it has none.
    """
    scripts = f"script-src {_source(script)}; " if script else ""
    return (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; {scripts}"
        "base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
