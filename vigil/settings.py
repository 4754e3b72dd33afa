"""Settings: environment variables `VIGIL_*`, `DATABASE_URL`, `KAFKA_BOOTSTRAP_SERVERS`. No secret has a default."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AliasChoices, Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vitals.errors import VigilError

Port = Annotated[int, Field(ge=1, le=65_535)]


class MissingSetting(VigilError):
    """A service was started without an address or key that it cannot do without."""

    def __init__(self, name: str, example: str) -> None:
        super().__init__(f"{name} is not set: export {name}={example}\nTo try Vigil without any, run: vigil demo")
        self.name = name


class InvalidSettings(VigilError):
    """An environment variable has a value that its setting does not take; the message names it, not its value."""


class Settings(BaseSettings):
    """Everything that can be set. Field names in capitals, after `VIGIL_`, are the variables."""

    model_config = SettingsConfigDict(env_prefix="VIGIL_", env_ignore_empty=True, extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("DATABASE_URL", "VIGIL_DATABASE_URL"),
        description="PostgreSQL or TimescaleDB",
    )
    kafka_bootstrap_servers: str | None = Field(
        None,
        validation_alias=AliasChoices("KAFKA_BOOTSTRAP_SERVERS", "VIGIL_KAFKA_BOOTSTRAP_SERVERS"),
        description="host:port, several separated by commas",
    )
    partitions: int = Field(6, ge=1, le=1_000, description="partitions of the sample topics, when they are created")
    replication: int = Field(1, ge=1, le=10, description="replicas of every topic, when it is created")
    hash_key: SecretStr | None = Field(
        None, min_length=16, description="hashes device and source names; keep it, or every device becomes a new one"
    )

    login_recorder: SecretStr | None = Field(
        None, min_length=16, description="password of the role vigil_recorder, for `vigil db logins`"
    )
    login_dispatch: SecretStr | None = Field(None, min_length=16, description="the same of vigil_dispatch")
    login_console: SecretStr | None = Field(None, min_length=16, description="the same of vigil_console")
    login_quarantine: SecretStr | None = Field(None, min_length=16, description="the same of vigil_quarantine")
    login_gateway: SecretStr | None = Field(None, min_length=16, description="the same of vigil_gateway")
    login_watch: SecretStr | None = Field(None, min_length=16, description="the same of vigil_watch")
    login_heartbeat: SecretStr | None = Field(None, min_length=16, description="the same of vigil_heartbeat")

    archive_uri: str | None = Field(
        None, description="where old samples are archived: a folder, or s3://bucket/prefix?endpoint_override=..."
    )

    strict_devices: bool = Field(
        False, description="true: samples of a device that nobody registered are quarantined (`vigil device register`)"
    )
    require_consent: bool = Field(
        False, description="true: samples of a patient of whom no consent is noted are refused (`vigil consent grant`)"
    )
    recorder_max_records: int = Field(500, ge=1, le=5_000, description="records in one transaction, at most")
    recorder_within_s: float = Field(0.1, gt=0, le=10, description="a transaction waits so long for more records")
    session_s: float = Field(6.0, ge=3, le=300, description="a dead worker's partitions move on after this")
    policy: Literal["default", "demo"] = Field("default", description="alert limits; demo has short delays")
    policy_file: Path | None = Field(
        None, description="a policy (TOML) that watch goes by instead of the one in force in the database"
    )
    policy_copy: Path = Field(
        Path(".vigil/policy.toml"), description="where watch keeps a copy of it, for a start without the database"
    )

    watch_snapshot_s: float = Field(
        60.0, ge=1, le=3_600, description="who is watched is written down so often; up to twice that is read again"
    )
    watch_warm_up_s: float = Field(
        1_800.0, ge=60, le=604_800, description="so much of the log is read where nothing was written down"
    )
    watch_behind_s: float = Field(30.0, ge=5, le=3_600, description="a watch behind for so long raises an alert")
    watch_backfill: bool = Field(True, description="false: history raises nothing, not even for review")

    webhook_url: HttpUrl | None = Field(None, description="where notifications are posted")
    webhook_secret: SecretStr | None = Field(None, description="signs the webhook's body (HMAC-SHA-256)")
    notification_log: Path = Field(Path("notifications.jsonl"), description="where notifications are logged")

    operations_url: HttpUrl | None = Field(None, description="where `vigil heartbeat` posts that Vigil itself fails")
    operations_secret: SecretStr | None = Field(None, description="signs that, as the webhook's body is signed")
    heartbeat_period_s: float = Field(
        60.0, ge=0.5, le=600, description="how often the synthetic patient's sample goes in"
    )
    heartbeat_missing_s: float = Field(
        180.0, gt=0, le=86_400, description="none came through for so long: operations are told; three periods at least"
    )
    heartbeat_gateway_url: HttpUrl | None = Field(
        None, description="the gateway that it passes, with its token; unset: straight to the broker"
    )
    heartbeat_token: SecretStr | None = Field(
        None, description="the synthetic patient's token, of `vigil heartbeat --new-token`"
    )

    console_host: str = Field("127.0.0.1", description="beyond loopback only with VIGIL_CONSOLE_TOKEN_HASH")
    console_port: Port = Field(8_080, description="where the console listens")
    console_token_hash: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="SHA-256, in hex, of the token that opens the console"
    )

    console_time_zone: str = Field("UTC", description="IANA zone in which the console shows times")
    console_allowed_hosts: str = Field("", description="host names the console answers to, separated by commas")

    gateway_token: SecretStr | None = Field(
        None, description="a bridge's token, for `vigil ble bridge --gateway` without `--token-file`"
    )
    gateway_host: str = Field("127.0.0.1", description="beyond loopback only with TLS, or behind a trusted proxy")
    gateway_port: Port = Field(8_090, description="where the gateway listens")
    gateway_url: HttpUrl | None = Field(
        None, description="what phones are told when they are paired: the gateway as they reach it"
    )
    gateway_tls_cert: Path | None = Field(None, description="certificate chain (PEM) of the gateway; with its key")
    gateway_tls_key: Path | None = Field(None, description="the certificate's private key (PEM)")
    gateway_client_ca: Path | None = Field(
        None, description="authority (PEM) of client certificates: tokens may then be bound to one"
    )
    gateway_trusted_proxies: str = Field(
        "", description="addresses of proxies that end TLS before the gateway, separated by commas"
    )
    gateway_folder: Path = Field(
        Path(".vigil/gateway"), description="where the gateway keeps its spool, uploads and remembered answers"
    )
    gateway_spool_bytes: int = Field(
        1 << 30, ge=1 << 20, description="how much may wait there for the broker; then requests are answered 503"
    )
    gateway_requests_at_once: int = Field(200, ge=1, le=4_096, description="requests worked on at once; more: 503")
    gateway_requests_per_s: float = Field(
        20.0, gt=0, le=10_000, description="requests a second of one token, over time; more: 429"
    )
    gateway_samples_per_s: float = Field(10_000.0, gt=0, description="the same for samples")
    gateway_upload_bytes: int = Field(4 << 30, ge=1 << 20, description="the largest export that may be uploaded")
    gateway_zone: str = Field("UTC", description="IANA zone of local times that an upload tells without an offset")
    gateway_oidc_issuer: str | None = Field(None, description="who signs platforms in (OIDC); with an audience")
    gateway_oidc_audience: str | None = Field(None, description="what their tokens must be made for")
    gateway_oidc_jwks_url: HttpUrl | None = Field(None, description="where its keys are, if it does not say")

    metrics_host: str = Field("127.0.0.1", description="where Prometheus metrics are served")
    metrics_port: Port | None = Field(None, description="Prometheus metrics; off unless set")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: for people on a terminal, JSON elsewhere"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is logged")

    @field_validator("console_time_zone", "gateway_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError("no zone of the IANA database, such as Europe/Berlin") from None
        return name

    def database(self) -> str:
        """Return the database's URL. Raises `MissingSetting`."""
        if self.database_url is None:
            raise MissingSetting("DATABASE_URL", "postgresql://user:password@host:5432/vigil")
        return self.database_url.get_secret_value()

    def logins(self) -> dict[str, str]:
        """Return the password of each role that is to log in. Raises `MissingSetting` where there is none."""
        given = {
            "vigil_recorder": self.login_recorder, "vigil_dispatch": self.login_dispatch,
            "vigil_console": self.login_console, "vigil_quarantine": self.login_quarantine,
            "vigil_gateway": self.login_gateway, "vigil_watch": self.login_watch,
            "vigil_heartbeat": self.login_heartbeat,
        }  # fmt: skip
        found = {role: secret.get_secret_value() for role, secret in given.items() if secret is not None}
        if not found:
            raise MissingSetting("VIGIL_LOGIN_RECORDER", "$(openssl rand -hex 32)")
        return found

    def archive(self) -> str:
        """Return the archive's URI. Raises `MissingSetting`."""
        if self.archive_uri is None:
            raise MissingSetting("VIGIL_ARCHIVE_URI", "/srv/vigil-archive (or s3://bucket/prefix)")
        return self.archive_uri

    def oidc(self) -> tuple[str, str, str | None] | None:
        """Return issuer, audience and where the keys are, None without. Raises `MissingSetting` for half of it."""
        if self.gateway_oidc_issuer is None and self.gateway_oidc_audience is None:
            return None
        if self.gateway_oidc_issuer is None:
            raise MissingSetting("VIGIL_GATEWAY_OIDC_ISSUER", "https://login.example/realm")
        if self.gateway_oidc_audience is None:
            raise MissingSetting("VIGIL_GATEWAY_OIDC_AUDIENCE", "vigil")
        url = self.gateway_oidc_jwks_url
        return self.gateway_oidc_issuer, self.gateway_oidc_audience, None if url is None else str(url)

    def broker(self) -> str:
        """Return the broker's addresses. Raises `MissingSetting`."""
        if self.kafka_bootstrap_servers is None:
            raise MissingSetting("KAFKA_BOOTSTRAP_SERVERS", "host:9092")
        return self.kafka_bootstrap_servers

    def pseudonym_key(self) -> bytes:
        """Return the key that hashes names away. Raises `MissingSetting`."""
        if self.hash_key is None:
            raise MissingSetting("VIGIL_HASH_KEY", "$(openssl rand -hex 32)")
        return self.hash_key.get_secret_value().encode()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return the settings of this process. Raises `InvalidSettings`, naming the variables that are wrong."""
    try:
        return Settings()
    except ValidationError as error:
        names = [f"{variable(str(one['loc'][0]))}: {one['msg']}" for one in error.errors(include_input=False)]
        raise InvalidSettings("\n".join(names)) from None


def variable(location: str) -> str:
    """Return the environment variable of a setting's name or alias."""
    return location if location.isupper() else f"VIGIL_{location.upper()}"
