"""The gateway's yardstick: FastAPI on uvicorn, one endpoint that parses the body and drops it."""

import os

import orjson
import pyarrow as pa
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response

app = FastAPI(openapi_url=None)


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    return {"ok": True}


@app.post("/v1/samples")
async def drop(request: Request) -> Response:
    body = await request.body()
    if request.headers["content-type"] == "application/json":
        count = len(orjson.loads(body)["samples"])
    else:
        with pa.ipc.open_stream(body) as reader:
            count = reader.read_all().num_rows
    return Response(orjson.dumps({"accepted": count, "safe": "nowhere"}), 202, media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["BARE_PORT"]), loop="uvloop", http="httptools", access_log=False,
        log_level="warning",
    )  # fmt: skip
