"""Names that nobody else has."""

from __future__ import annotations

import base64

from millpond.base.ids import curve_key, server_id


def test_keys_look_like_nkeys() -> None:
    assert len(server_id()) == 56
    assert server_id()[0] == "N"


def test_the_curve_key_is_x25519_of_its_secret() -> None:
    # made with openssl genpkey -algorithm X25519
    secret = bytes.fromhex("b07f279f68824120b1e0d74658fb7b91b513705cfaca0066829dfb007c745357")
    public = bytes.fromhex("426bc81d7b1347f803f5cfbaa0809f85ba925d5f12655e9d2a4460f5645dcb00")
    key = curve_key(secret)
    assert (len(key), key[0]) == (56, "X")
    assert base64.b32decode(key + "=" * (-len(key) % 8))[1:33] == public
