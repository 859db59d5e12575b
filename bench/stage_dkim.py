"""What a DKIM signature costs: CPU milliseconds per message, 4 KB and 40 KB, by part.

python -m bench.stage_dkim
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from relay.delivery.canonical import relaxed_body, relaxed_fields
from relay.delivery.dkim import Signer, sign_all
from relay.delivery.dkim_keys import generate

HEAD = b"".join(
    (
        b"Received: from app.shop.test ([192.0.2.7]) by relay.shop.test with ESMTPSA\r\n",
        b"\tid 0abc; Mon, 1 Jan 2024 00:00:00 +0000\r\n",
        b"From: The Shop <news@shop.test>\r\nTo: ann@inbox.test\r\nSubject: News of the week\r\n",
        b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <0abc@shop.test>\r\n",
        b"MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"List-Unsubscribe: <https://t.shop.test/u/" + b"a" * 100 + b">\r\n",
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nFeedback-ID: 1:2:3:shop\r\n",
    )
)
_ROW = (
    b'    <td style=3D"padding:0 4px;color:#333333"><a href=3D"https://shop.test/p/17">=\r\n'
    b"Shoes for the whole family, now in stock</a></td>\r\n"
)


def body_of(size: int) -> bytes:
    """Give a quoted-printable HTML body of about this many octets."""
    return (_ROW * (size // len(_ROW) + 1))[:size].rpartition(b"\r\n")[0] + b"\r\n"


def cpu_ms(work: Callable[[], object], times: int) -> float:
    """Give CPU milliseconds per call, the least of five rounds."""
    work()
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            work()
        best = min(best, (time.process_time() - start) / times * 1000)
    return best


def main() -> None:
    """Print the table."""
    rsa = Signer("shop.test", "r1", generate("rsa"))
    ed25519 = Signer("shop.test", "e1", generate("ed25519"))
    print("size     body canon  sha256  header  rsa sign()  ed25519 sign()  both")
    for size in (4_000, 40_000):
        body = body_of(size)
        canonical = relaxed_body(body)
        row = (
            cpu_ms(lambda body=body: relaxed_body(body), 200),  # type: ignore[misc]
            cpu_ms(lambda canonical=canonical: hashlib.sha256(canonical).digest(), 200),  # type: ignore[misc]
            cpu_ms(lambda: relaxed_fields(HEAD), 200),
            cpu_ms(lambda body=body: rsa.sign(HEAD, body, at=1), 100),  # type: ignore[misc]
            cpu_ms(lambda body=body: ed25519.sign(HEAD, body, at=1), 100),  # type: ignore[misc]
            cpu_ms(lambda body=body: sign_all((rsa, ed25519), HEAD, body, at=1), 100),  # type: ignore[misc]
        )
        print(f"{size:6d}  " + "  ".join(f"{value:8.4f}" for value in row) + "  ms CPU")


if __name__ == "__main__":
    main()
