"""Edge: the pages that are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response, StreamingResponse

from console.board import Board
from console.chart_view import RANGES
from console.live import Hub
from console.render import Renderer
from vitals.ids import PatientId, is_opaque

NOTICES = {
    "done": "Acknowledged.",
    "already": "Somebody else had acknowledged this alert already; their name stays.",
    "changed": "Not acknowledged: the alert changed while you were reading. Please look again.",
    "unknown": "Not acknowledged: that alert is not known.",
    "actor": "Not done: enter your staff id first (letters and digits, no spaces, not your name).",
    "signed": "From now on you acknowledge under this staff id.",
}


@dataclass(frozen=True, slots=True)
class Pages:
    """The routes and what they need."""

    board: Board
    hub: Hub
    renderer: Renderer

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/", self.first, methods=["GET", "HEAD"], response_class=Response)
        router.add_api_route("/patients/{patient}", self.patient, methods=["GET", "HEAD"], response_class=Response)
        router.add_api_route("/events", self.events, methods=["GET"], response_class=Response)
        return router

    async def first(self, request: Request, page: Annotated[int, Query(ge=1, le=100_000)] = 1) -> Response:
        """Open alerts, then everybody."""
        view = await self.board.overview(page)
        return self.renderer.page(request, "board.html", board=view, now=self._now(), notice=_notice(request))

    async def patient(self, request: Request, patient: str) -> Response:
        """One person's charts and alerts."""
        shown = RANGES.get(request.query_params.get("range", "1h"))
        if shown is None or not is_opaque(patient):
            raise HTTPException(404)
        view = await self.board.patient(PatientId(patient), shown)
        if view is None:
            raise HTTPException(404)
        return self.renderer.page(
            request, "patient.html", patient=view, shown=shown, ranges=RANGES.values(), now=self._now(),
            notice=_notice(request),
        )  # fmt: skip

    async def events(self) -> Response:
        """Tell a page when to look again."""
        self.hub.check_room()
        return StreamingResponse(self.hub.stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    def _now(self) -> object:
        now = self.board.now()
        return now.moment(now.at)


def _notice(request: Request) -> str:
    return NOTICES.get(request.query_params.get("notice", ""), "")
