"""TLS, and credentials that are bound to a client certificate."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ingest.gateway.server import Tls
from tests.ingest.gateway.edge import Running, World, request, running


@dataclass
class Party:
    """A certificate with its key, on disk."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    file: Path
    key_file: Path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def make(folder: Path, name: str, signer: Party | None = None, *, server: bool = False) -> Party:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
        .issuer_name(subject if signer is None else signer.certificate.subject)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )  # fmt: skip
    if signer is None:
        builder = builder.add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
        )
    else:
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
        builder = builder.add_extension(authority, critical=False)
        builder = builder.add_extension(address, critical=False).add_extension(
            x509.ExtendedKeyUsage([usage]), critical=False
        )
    certificate = builder.sign(key if signer is None else signer.key, hashes.SHA256())
    file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Party(certificate, key, file, key_file)


@dataclass
class Secured:
    """A gateway with TLS, and who may show a certificate."""

    gateway: Running
    authority: Party
    phone: Party
    other: Party
    stranger: Party

    def context(self, party: Party | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if party is not None:
            context.load_cert_chain(party.file, party.key_file)
        return context

    def client(self, token: str, party: Party | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.gateway.port}", verify=self.context(party), timeout=10,
            headers={"authorization": f"Bearer {token}"},
        )  # fmt: skip


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority = make(folder, "authority")
    server = make(folder, "server", authority, server=True)
    phone, other = make(folder, "phone", authority), make(folder, "other", authority)
    stranger = make(folder, "stranger", make(folder, "elsewhere"))
    tls = Tls(server.file, server.key_file, authority.file)
    with running(World(tmp_path_factory.mktemp("gateway")), tls=tls) as gateway:
        yield Secured(gateway, authority, phone, other, stranger)


def test_a_token_alone_is_enough_where_it_is_bound_to_nothing(secured: Secured) -> None:
    token = secured.gateway.world.token()
    for party in (None, secured.phone):
        with secured.client(token, party) as client:
            assert client.post("/v1/samples", json=request()).status_code == 202


def test_a_bound_token_counts_only_with_its_certificate(secured: Secured) -> None:
    token = secured.gateway.world.token(certificate=secured.phone.sha256)
    with secured.client(token, secured.phone) as client:
        assert client.post("/v1/samples", json=request()).status_code == 202
        assert client.post("/v1/samples", json=request()).status_code == 202
    for party in (None, secured.other):
        with secured.client(token, party) as client:
            answer = client.post("/v1/samples", json=request())
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_a_header_is_no_certificate(secured: Secured) -> None:
    token = secured.gateway.world.token(certificate=secured.phone.sha256)
    with secured.client(token) as client:
        for name in ("x-client-cert-sha256", "x-forwarded-client-cert", "client-cert"):
            assert client.get("/v1/devices/me", headers={name: secured.phone.sha256}).status_code == 401


def test_a_certificate_of_another_authority_ends_the_handshake(secured: Secured) -> None:
    with secured.client(secured.gateway.world.token(), secured.stranger) as client, pytest.raises(httpx.TransportError):
        client.get("/healthz")


def test_a_stream_is_bound_too(secured: Secured) -> None:
    token = secured.gateway.world.token(certificate=secured.phone.sha256)
    url = f"wss://127.0.0.1:{secured.gateway.port}/v1/stream"
    headers = {"authorization": f"Bearer {token}"}
    with connect(url, ssl=secured.context(secured.phone), additional_headers=headers) as stream:
        stream.send(orjson.dumps({"seq": 1, **request()}).decode())
        assert orjson.loads(stream.recv(timeout=10))["accepted"] == 1
    with pytest.raises(InvalidStatus) as caught, connect(url, ssl=secured.context(), additional_headers=headers):
        pass
    assert caught.value.response.status_code == 401


def test_clear_text_gets_nowhere(secured: Secured) -> None:
    with secured.gateway.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP/1.1 200" not in connection.recv(1_000)
