"""Edge: the services' own logins: each is a role of sql/roles.sql, and may do what that grants, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql


def let_in(url: str, passwords: Mapping[str, str]) -> None:
    """Let each role log in with its password. The server is told a verifier only, so that no log can hold a password.

    `url` is that of a user who may alter roles, after `vigil db migrate`. Raises psycopg's errors.
    """
    with psycopg.connect(url) as connection:
        for role, password in passwords.items():
            verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
            )
