"""Platforms' bearer tokens against a real issuer on loopback: what counts, what does not, keys that change or fail."""

import asyncio
import base64
import hashlib
import hmac
import json
import random
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse
from joserfc import jwe, jwk, jws, jwt
from joserfc.errors import SecurityWarning

from ingest.gateway import oidc_keys
from ingest.gateway.oidc import Oidc
from ingest.gateway.oidc_keys import InsecureIssuer, IssuerKeys, is_safe
from ingest.gateway.policy import GatewayPolicy
from ingest.gateway.ports import Unavailable
from ingest.gateway.sign_in import SignIn
from vitals.access import Access, Credential, Kind, Principal
from vitals.ids import PatientId

NOW_S = 1_800_000_000
NOW_US = NOW_S * 1_000_000
AUDIENCE = "vigil"
SEED = random.SystemRandom().randrange(1 << 32)
_GENERATE: dict[str, Any] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), lambda: jwk.RSAKey.generate_key(2_048)),
    "ES256": lambda: jwk.ECKey.generate_key("P-256"),
    "ES384": lambda: jwk.ECKey.generate_key("P-384"),
    "ES512": lambda: jwk.ECKey.generate_key("P-521"),
    "EdDSA": lambda: jwk.OKPKey.generate_key("Ed25519"),
}


class Issuer:
    """Serves discovery and keys as they are set here, and counts who asks."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Any] = {}
        self.more: list[dict[str, Any]] = []
        self.asked = 0
        self.answer: Any = None
        self.named: str | None = None

    def add(self, kid: str, algorithm: str = "ES256", **parameters: Any) -> Any:
        self.keys[kid] = _GENERATE[algorithm]()
        self.more.append({**self.keys[kid].as_dict(private=False), "kid": kid, "use": "sig", **parameters})
        return self.keys[kid]

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def discovery() -> dict[str, str]:
            return {"issuer": self.named or self.url, "jwks_uri": f"{self.url}/keys"}

        @app.get("/keys", response_model=None)
        def keys() -> Any:
            self.asked += 1
            return {"keys": self.more} if self.answer is None else self.answer

        return app

    def token(self, kid: str = "k1", algorithm: str = "ES256", **changes: Any) -> str:
        claims = {"iss": self.url, "aud": AUDIENCE, "sub": "ward-7", "exp": NOW_S + 300, "iat": NOW_S} | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return signed({"alg": algorithm, "kid": kid}, claims, self.keys[kid])


def signed(header: dict[str, Any], claims: Any, key: Any) -> str:
    """A compact JWS that joserfc's own door would not always make: any header, any payload."""
    text = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    algorithm = jws.JWSRegistry.algorithms[header["alg"]]
    segments = b".".join(map(b64, (json.dumps(header).encode(), text)))
    assert registry.allowed
    return (segments + b"." + b64(algorithm.sign(segments, key))).decode()


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


@contextmanager
def serving(issuer: Issuer, port: int = 0) -> Iterator[None]:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    issuer.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(issuer.app(), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    one = Issuer()
    with serving(one):
        yield one


@pytest.fixture
def oidc(issuer: Issuer) -> Oidc:
    issuer.add("k1")
    return Oidc(issuer.url, AUDIENCE)


@pytest.mark.parametrize("algorithm", _GENERATE)
@pytest.mark.parametrize("by_discovery", [True, False])
async def test_each_signature_counts(issuer: Issuer, algorithm: str, by_discovery: bool) -> None:
    issuer.add("k1", algorithm)
    oidc = Oidc(issuer.url, AUDIENCE, None if by_discovery else f"{issuer.url}/keys")
    assert await oidc.subject_of(issuer.token(algorithm=algorithm), NOW_US, None) == (issuer.url, "ward-7")
    assert await oidc.subject_of(issuer.token(algorithm=algorithm, aud=["x", AUDIENCE]), NOW_US, None) is not None
    head, _, signature = issuer.token(algorithm=algorithm).rpartition(".")
    other = signed({"alg": algorithm, "kid": "k1"}, {}, _GENERATE[algorithm]())
    assert await oidc.subject_of(f"{head}.{other.rpartition('.')[2]}", NOW_US, None) is None
    assert await oidc.subject_of(f"{head}.{signature[::-1]}", NOW_US, None) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"}, {"iss": None}, {"iss": ["x"]}, {"aud": "other"}, {"aud": None}, {"aud": []},
        {"aud": [["vigil"]]}, {"aud": {"vigil": 1}}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256},
        {"exp": None}, {"exp": NOW_S - 60}, {"exp": NOW_S + 86_461}, {"exp": "soon"}, {"exp": float("nan")},
        {"exp": float("inf")}, {"exp": True}, {"exp": 10**300}, {"nbf": NOW_S + 61}, {"nbf": "x"}, {"iat": NOW_S + 61},
        {"iat": [1]}, {"cnf": {"jkt": "x"}}, {"cnf": {}}, {"cnf": None, "jti": 7}, {"cnf": "x5t#S256"},
        {"cnf": {"x5t#S256": "x"}},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_not_meant_for_us_or_not_now_is_refused(
    issuer: Issuer, oidc: Oidc, changes: dict[str, Any]
) -> None:
    assert await oidc.subject_of(issuer.token(**changes), NOW_US, "ab" * 32) is None
    assert issuer.asked == 0, "nobody makes us ask the issuer with a token that cannot be good"


@pytest.mark.parametrize(
    "changes", [{"exp": NOW_S - 59}, {"exp": NOW_S + 86_460}, {"nbf": NOW_S + 60}, {"iat": NOW_S + 60}, {"iat": None}]
)
async def test_clocks_may_differ_by_a_minute(issuer: Issuer, oidc: Oidc, changes: dict[str, Any]) -> None:
    assert await oidc.subject_of(issuer.token(**changes), NOW_US, None) == (issuer.url, "ward-7")


async def test_a_token_bound_to_a_certificate_counts_only_with_it(issuer: Issuer, oidc: Oidc) -> None:
    der = secrets.token_bytes(600)
    digest = hashlib.sha256(der)
    token = issuer.token(cnf={"x5t#S256": b64(digest.digest()).decode()})
    assert await oidc.subject_of(token, NOW_US, digest.hexdigest()) == (issuer.url, "ward-7")
    for other in (None, hashlib.sha256(b"another").hexdigest(), "", "no hex"):
        assert await oidc.subject_of(token, NOW_US, other) is None
    both = issuer.token(cnf={"x5t#S256": b64(digest.digest()).decode(), "jkt": "and a key that we cannot check"})
    assert await oidc.subject_of(both, NOW_US, digest.hexdigest()) is None


async def test_no_trick_with_the_algorithm_opens(issuer: Issuer, oidc: Oidc) -> None:
    key = issuer.add("r1", "RS256")
    good = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ward-7", "exp": NOW_S + 300}
    assert await oidc.subject_of(signed({"alg": "RS256", "kid": "r1"}, good, key), NOW_US, None) is not None
    payload = b64(json.dumps(good).encode())
    tricks = []
    for none in ("none", "None", "NONE", ""):
        head = b64(json.dumps({"alg": none, "kid": "r1"}).encode())
        tricks += [head + b"." + payload + b".", head + b"." + payload + b".AAAA"]
    for public in (key.as_pem(private=False), key.as_der(private=False), json.dumps(issuer.more[1]).encode()):
        for bits in (256, 384, 512):
            text = b64(json.dumps({"alg": f"HS{bits}", "kid": "r1"}).encode()) + b"." + payload
            tricks.append(text + b"." + b64(hmac.digest(public, text, f"sha{bits}")))
    own = _GENERATE["ES256"]()
    public_own = own.as_dict(private=False)
    for header in (
        {"alg": "ES256", "kid": "k1", "jwk": public_own}, {"alg": "ES256", "jwk": public_own},
        {"alg": "ES256", "kid": "k1", "jku": f"{issuer.url}/evil"}, {"alg": "ES256", "kid": "k1", "x5c": ["x"]},
        {"alg": "ES256", "kid": "../../etc"}, {"alg": "ES256", "kid": 7}, {"alg": "ES256", "kid": None},
        {"alg": "ES256", "kid": {"k": 1}},
    ):  # fmt: skip
        tricks.append(signed(header, good, own).encode())
    for header in (
        {"alg": "RS256", "kid": "r1", "crit": ["exp"], "exp": 1}, {"alg": "RS256", "kid": "r1", "b64": False},
        {"alg": "RS256", "kid": "r1", "typ": "logout+jwt"}, {"alg": "RS256", "kid": "r1", "typ": ["JWT"]},
        {"alg": "RS256", "kid": "k1"}, {"alg": "RS256", "kid": "r1", "zip": "DEF"},
    ):  # fmt: skip
        tricks.append(signed(header, good, key).encode())
    encrypted = jwe.encrypt_compact({"alg": "RSA-OAEP", "enc": "A128GCM"}, json.dumps(good), key)
    tricks.append(encrypted.encode())
    for trick in tricks:
        assert await oidc.subject_of(trick.decode(), NOW_US, None) is None, trick[:80]


async def test_no_junk_raises(issuer: Issuer, oidc: Oidc) -> None:
    chance = random.Random(SEED)
    good = issuer.token()
    assert await oidc.subject_of(good, NOW_US, None) is not None
    asked = issuer.asked
    head, payload, signature = good.encode().split(b".")
    deep = b64(b"[" * 4_000), b64(b'{"a":' * 900)
    junk = ["", ".", "..", "...", "a.b.c", "é.é.é", "\x00", good + ".", "." + good, good * 3, "x" * 1_000_000]
    junk += [(one + b"." + two + b"." + signature).decode() for one in (head, *deep) for two in (*deep, b"", b"e30")]
    for header in (b"null", b"[]", b"7", b'"x"', b"{}", b'{"alg":[]}', b'{"alg":{}}', b'{"alg":null}', b"\xff"):
        junk.append((b64(header) + b"." + payload + b"." + signature).decode())
    for _ in range(2_000):
        changed = bytearray(good.encode())
        for _ in range(chance.randrange(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(32, 127)
        junk.append(changed.decode())
        junk.append(chance.randbytes(chance.randrange(60)).decode("latin-1"))
    for text in junk:
        found = await oidc.subject_of(text, NOW_US, None)
        assert found is None or text == good, f"seed {SEED}"
    assert issuer.asked <= asked + 1


async def test_a_signed_token_that_is_too_long_or_no_object_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    assert await oidc.subject_of(issuer.token(padding="x" * 4_000), NOW_US, None) is not None
    assert await oidc.subject_of(issuer.token(padding="x" * 8_192), NOW_US, None) is None
    for payload in (b"[]", b"null", b"7", b"\xff", b"[" * 3_000, b'{"exp":' + b"9" * 5_000 + b"}"):
        token = signed({"alg": "ES256", "kid": "k1"}, payload, issuer.keys["k1"])
        assert await oidc.subject_of(token, NOW_US, None) is None


async def test_a_token_without_a_key_id_needs_an_only_key(issuer: Issuer, oidc: Oidc) -> None:
    good = {"iss": issuer.url, "aud": AUDIENCE, "sub": "ward-7", "exp": NOW_S + 300}
    token = signed({"alg": "ES256"}, good, issuer.keys["k1"])
    issuer.add("r1", "RS256")
    assert await oidc.subject_of(token, NOW_US, None) == (issuer.url, "ward-7")
    issuer.add("k2")
    fresh = Oidc(issuer.url, AUDIENCE)
    assert await fresh.subject_of(token, NOW_US, None) is None, "which of the two is anybody's guess"


async def test_keys_that_are_none_of_ours_to_use(issuer: Issuer) -> None:
    issuer.add("enc", use="enc")
    issuer.add("ps", "RS256", alg="PS256")
    issuer.add("leaked")
    issuer.more[-1] |= {"d": issuer.keys["leaked"].as_dict(private=True)["d"]}
    issuer.add("twice")
    issuer.more.append(dict(issuer.add("other").as_dict(private=False), kid="twice"))
    with pytest.warns(SecurityWarning):
        weak = jwk.RSAKey.import_key(_weak_rsa())
    issuer.keys["weak"] = weak
    issuer.more += [{**weak.as_dict(private=False), "kid": "weak"}, {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}]
    issuer.more += [{"kty": "EC"}, {"kty": "RSA", "n": 7, "e": "AQAB"}, {}, "x", None]  # type: ignore[list-item]
    oidc = Oidc(issuer.url, AUDIENCE)
    elliptic, rsa = ("enc", "leaked", "twice"), ("ps", "weak")
    for kid, algorithm in [*((kid, "ES256") for kid in elliptic), *((kid, "RS256") for kid in rsa)]:
        assert await oidc.subject_of(issuer.token(kid, algorithm), NOW_US, None) is None, kid
    assert await oidc.subject_of(issuer.token("ps", "PS256"), NOW_US, None) is not None
    assert await oidc.subject_of(issuer.token("other"), NOW_US, None) is not None, "the rest of the set counts"


async def test_a_valid_token_opens_only_what_stands_with_us(issuer: Issuer, oidc: Oidc) -> None:
    allowed: dict[tuple[str, str], Credential] = {}

    async def access() -> Access:
        return Access({}, dict(allowed))

    sign_in = SignIn(access, oidc, GatewayPolicy(), lambda: NOW_US)
    assert await sign_in.find(issuer.token(), None) is None
    principal = Principal("a" * 16, Kind.PLATFORM, PatientId("p1"))
    one = Credential(principal, None, NOW_US + 1, subject=(issuer.url, "ward-7"))
    allowed[issuer.url, "ward-7"] = one
    fresh = SignIn(access, oidc, GatewayPolicy(), lambda: NOW_US)
    assert await fresh.find(issuer.token(), None) is one
    assert await fresh.find(issuer.token(sub="ward-8"), None) is None
    allowed[issuer.url, "ward-7"] = replace(one, revoked_us=NOW_US)
    later = SignIn(access, oidc, GatewayPolicy(), lambda: NOW_US)
    assert await later.find(issuer.token(), None) is None, "however long the issuer's token lasts"


def _weak_rsa() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65_537, 1_024)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Time:
    """A monotonic clock that is advanced by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_a_new_key_is_fetched_and_an_unknown_one_not_more_often_than_every_30_seconds(issuer: Issuer) -> None:
    issuer.add("k1")
    time = Time()
    keys = IssuerKeys(issuer.url, monotonic=time)
    assert (await keys.find("k1", "ES256")) is not None
    issuer.add("k2")
    for number in range(50):
        assert await keys.find(f"unknown-{number}", "ES256") is None
    assert await keys.find("k2", "ES256") is None
    assert issuer.asked == 1
    time.now += oidc_keys.ASK_EVERY_S
    found = await asyncio.gather(*(keys.find("k2", "ES256") for _ in range(20)))
    assert None not in found
    assert issuer.asked == 2, "all who wait share one question"
    del issuer.more[0]
    time.now += oidc_keys.REFRESH_S
    assert await keys.find("k1", "ES256") is not None, "who names a known key does not wait for the refresh"
    assert keys._asking is not None
    await keys._asking
    assert await keys.find("k1", "ES256") is None, "a key that its issuer withdrew counts no more"
    assert await keys.find("k2", "ES256") is not None


async def test_an_issuer_that_is_down_leaves_known_keys_for_an_hour() -> None:
    issuer, time = Issuer(), Time()
    with serving(issuer):
        issuer.add("k1")
        keys = IssuerKeys(issuer.url, monotonic=time)
        assert await keys.find("k1", "ES256") is not None
        oidc = Oidc(issuer.url, AUDIENCE)
        assert await oidc.subject_of(issuer.token(), NOW_US, None) is not None
    time.now += oidc_keys.KEEP_S - 1
    assert await keys.find("k1", "ES256") is not None
    with pytest.raises(Unavailable):
        await keys.find("k2", "ES256")
    time.now += oidc_keys.ASK_EVERY_S + 1
    with pytest.raises(Unavailable):
        await keys.find("k1", "ES256")
    fresh = Oidc(issuer.url, AUDIENCE)
    with pytest.raises(Unavailable):
        await fresh.subject_of(issuer.token(), NOW_US, None)
    assert await fresh.subject_of("junk", NOW_US, None) is None
    with serving(issuer, int(issuer.url.rpartition(":")[2])):
        time.now += oidc_keys.ASK_EVERY_S
        assert await keys.find("k1", "ES256") is not None


@pytest.mark.parametrize(
    "answer",
    [
        Response("no json"), Response("[]"), Response("{}"), Response('{"keys": 7}'), Response(status_code=500),
        Response("[" * 100_000), Response(b" " * 300_000 + b"{}"), RedirectResponse("/keys2"),
        Response(b"\x1f\x8b", headers={"content-encoding": "gzip"}),
    ],
)  # fmt: skip
async def test_a_bad_answer_is_no_key_set(issuer: Issuer, oidc: Oidc, answer: Any) -> None:
    issuer.answer = answer
    with pytest.raises(Unavailable):
        await oidc.subject_of(issuer.token(), NOW_US, None)


async def test_discovery_must_be_about_this_issuer(issuer: Issuer, oidc: Oidc) -> None:
    issuer.named = "https://somebody.else.example"
    with pytest.raises(Unavailable):
        await oidc.subject_of(issuer.token(), NOW_US, None)
    assert issuer.asked == 0


async def test_an_issuer_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc_keys, "_WITHIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        keys = IssuerKeys(f"http://127.0.0.1:{silent.getsockname()[1]}")
        asking = asyncio.create_task(keys.find("k1", "ES256"))
        await asyncio.sleep(0)
        asking.cancel()  # whoever hangs up does not stop the question for the others
        with pytest.raises(Unavailable):
            await keys.find("k1", "ES256")


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://issuer.example/realm", True), ("http://127.0.0.1:8080", True), ("http://[::1]/x", True),
        ("http://localhost", True), ("http://issuer.example", False), ("http://127.0.0.1.issuer.example", False),
        ("http://192.168.0.9", False), ("ftp://issuer.example", False), ("https://", False), ("", False),
        ("https://user:pass@issuer.example", False), ("http://[::1", False), ("file:///etc/passwd", False),
    ],
)  # fmt: skip
def test_keys_come_over_tls_only(url: str, safe: bool) -> None:
    assert is_safe(url) == safe
    if not safe:
        with pytest.raises(InsecureIssuer):
            Oidc(url, AUDIENCE)
        with pytest.raises(InsecureIssuer):
            Oidc("https://issuer.example", AUDIENCE, url)


def test_the_library_agrees_on_what_is_signed() -> None:
    """`signed` above makes what joserfc itself reads."""
    key = _GENERATE["ES256"]()
    assert jwt.decode(signed({"alg": "ES256"}, {"a": 1}, key), key, algorithms=["ES256"]).claims == {"a": 1}
