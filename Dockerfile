# Vigil's image: pinned dependencies in a virtual environment, the packages beside it, no compiler, no installer, no root.
# Health checks stand in docker-compose.yml: each service has another.

FROM python:3.11.15-slim-bookworm AS build
RUN python -m venv --without-pip /opt/vigil
COPY requirements/runtime.txt /build/runtime.txt
# Wheels only: nothing of a dependency runs at build time, and every byte has a hash in the list.
RUN python -m pip --python /opt/vigil/bin/python install --no-cache-dir --disable-pip-version-check --no-deps \
      --require-hashes --only-binary=:all: -r /build/runtime.txt
COPY vitals /app/vitals
COPY devices /app/devices
COPY ingest /app/ingest
COPY timeseries /app/timeseries
COPY alerts /app/alerts
COPY stream /app/stream
COPY console /app/console
COPY vigil /app/vigil
RUN /opt/vigil/bin/python -m compileall -q /app

FROM python:3.11.15-slim-bookworm
RUN python -m pip uninstall --yes --quiet pip setuptools wheel \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vigil \
 && install -d -o vigil -g vigil -m 0700 /var/lib/vigil /var/lib/vigil-archive /run/vigil
COPY --from=build /opt/vigil /opt/vigil
COPY --from=build /app /app
COPY LICENSE /app/LICENSE
ENV PATH=/opt/vigil/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /run/vigil
ENTRYPOINT ["python", "-m", "vigil"]
CMD ["--help"]
